"""Writes finished environments as an installation leaves them, of tiny packages made by hand."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from toolrunner.plugins.instance import plugin_at
from toolrunner.plugins.plugin import Plugin
from toolrunner.runner.environments.store import (
    FORMAT,
    RECORD,
    SERVED_SUFFIX,
    WANTED,
    this_platform,
)
from toolrunner.runner.environments.wish import place_of, wish_of

# Name and version of a distribution, and its modules.
TINY = {"tiny 1.0": {"tiny.py": "VERSION = '1.0'\n"}}
# Where machines have other Pythons than the system's, for every user.
OTHERS = (
    "/opt/python3.*/bin/python3.*",
    "/opt/hostedtoolcache/Python/3.*/x64/bin/python3.*",
    "/usr/local/bin/python3.*",
    "/usr/bin/python3.*",
)


def install(
    state: Path,
    *plugins: Path | Plugin,
    packages: Mapping[str, Mapping[str, str]] | None = None,
    python: str = "",
) -> Path:
    """Write the environment that some plugins ask for; return its folder.

    ``python``: by default the one that this process is run by, without the environment it is in.
    """
    packages = TINY if packages is None else packages
    python = os.path.realpath(python or getattr(sys, "_base_executable", sys.executable))
    version = version_of(python)
    short = ".".join(version.split(".")[:2])
    digest = hashlib.sha256(json.dumps([packages, python]).encode()).hexdigest()
    store = state / "environments"
    for folder in (state, store, store / WANTED, store / "building"):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
    final = store / digest
    if not final.exists():
        made = store / "building" / digest
        site = made / f"lib/python{short}/site-packages"
        site.mkdir(parents=True)
        for title, files in packages.items():
            _write_package(site, title, files)
        record = {
            "format": FORMAT,
            "digest": digest,
            "platform": this_platform(),
            "python": {
                "executable": python, "version": version,
                "implementation": "cpython", "abi": "",
            },
            "site_packages": str(site.relative_to(made)),
            "packages": [
                {"name": title.split()[0], "version": title.split()[1], "bytes": 100}
                for title in packages
            ],
            "builds": False,
        }  # fmt: skip
        (made / RECORD).write_text(json.dumps(record))
        _make_readable(made)
        made.rename(final)
    for one in plugins:
        plugin = one if isinstance(one, Plugin) else plugin_at(one, "a test")
        wish = wish_of(plugin)
        assert wish is not None, f"{plugin.name} needs nothing"
        (store / WANTED / f"{plugin.name}{SERVED_SUFFIX}").write_text("{}")
        unfinished = store / "building" / wish.key
        unfinished.write_text(json.dumps({"digest": digest, "plugin": place_of(plugin)}))
        unfinished.chmod(0o644)
        unfinished.rename(store / WANTED / f"{wish.key}.json")
    return final


def remove(state: Path, *plugins: Path) -> None:
    """Take away what answers to the wishes of some plugins, with the environments themselves."""
    for path in plugins:
        wish = wish_of(plugin_at(path, "a test"))
        assert wish is not None
        wanted = state / "environments" / WANTED / f"{wish.key}.json"
        digest = json.loads(wanted.read_text())["digest"]
        wanted.unlink()
        shutil.rmtree(state / "environments" / digest, ignore_errors=True)


def _write_package(site: Path, title: str, files: Mapping[str, str]) -> None:
    name, version = title.split()
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: MIT\n"
    )
    for relative, text in files.items():
        path = site / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def _make_readable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def version_of(python: str) -> str:
    """Return which Python an executable is."""
    if os.path.realpath(python) == os.path.realpath(sys.executable):
        return platform.python_version()
    question = "import platform; print(platform.python_version())"
    command = [python, "-I", "-S", "-c", question]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def other_pythons() -> dict[str, str]:
    """Return interpreters of other versions that every user can run, by version as "3.12".

    Where there is none, this process's own, without the environment that it is in.
    """
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    found: dict[str, str] = {}
    for pattern in OTHERS:
        for path in sorted(Path("/").glob(pattern[1:])):
            version = path.name.removeprefix("python")
            is_new_enough = version.removeprefix("3.").isdigit() and int(version[2:]) >= 11
            if is_new_enough and version != own and os.access(path, os.X_OK):
                found.setdefault(version, str(path))
    return found or {own: os.path.realpath(getattr(sys, "_base_executable", sys.executable))}
