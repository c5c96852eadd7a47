"""The interpreters of this host that an environment can be for.

Asked by ``install``. They are the host's own, not an environment's: asking one what it is runs it,
without its site-packages.
"""

from __future__ import annotations

import glob
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, fields
from pathlib import Path

from packaging.specifiers import SpecifierSet

from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.sandbox.interpreter import UnusableError, with_packages

_OLDEST = (3, 11)
_NAME = re.compile(r"python3\.(\d+)")
_PLACES = ("/usr/local/bin", "/usr/bin")
_ANSWER_SECONDS = 20
_MOST_PATCHES = 40  # of one 3.N
# What to do where none fits.
NO_PYTHON = "install such a CPython where PATH leads to it"
_QUESTION = """
import json, os, platform, sys, sysconfig
print(json.dumps({
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "version": platform.python_version(),
    "implementation": sys.implementation.name,
    "abi": sysconfig.get_config_var("SOABI") or "",
    "prefix": sys.base_prefix,
}))
"""


@dataclass(frozen=True, slots=True)
class Python:
    """One interpreter."""

    executable: str
    version: str
    implementation: str
    abi: str
    prefix: str

    @property
    def short(self) -> str:
        """The version as folders are named after it: "3.11"."""
        return ".".join(self.version.split(".")[:2])

    def fits(self, requires_python: str | None) -> bool:
        """Tell whether a plugin that requires this may run on it."""
        return SpecifierSet(requires_python or "").contains(self.version, prereleases=True)


def choose_python(requires_python: str | None) -> Python:
    """Return the interpreter for an environment: this one's if it fits, else the oldest that does.

    ``GovernedError`` if there is none.
    """
    seen: list[str] = []
    own = this_python()
    for path in dict.fromkeys([own.executable, *map(os.path.realpath, _executables())]):
        try:
            # Before it is run by what follows: not every one may be, and no box by every one.
            with_packages(path, ())
        except UnusableError as error:
            seen.append(str(error))
            continue
        python = own if path == own.executable else _asked(path)
        if python is None:
            continue
        if python.fits(requires_python):
            return python
        seen.append(python.version)
    have = ", ".join(dict.fromkeys(seen))
    message = f"needs Python {requires_python or '>=3.11'}, and this host has: {have}; {NO_PYTHON}"
    raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message)


def is_any_like(requires_python: str) -> bool:
    """Tell whether this host has a Python that may fit, by the names of its files alone."""
    wanted = SpecifierSet(requires_python)
    names = (_NAME.fullmatch(os.path.basename(path)) for path in _executables())  # noqa: PTH119
    return any(
        wanted.contains(f"3.{name[1]}.{patch}", prereleases=True)
        for name in names
        if name
        for patch in range(_MOST_PATCHES)
    )


def this_python() -> Python:
    """Return the interpreter of this process, without the environment that it may be in."""
    return Python(
        os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
        platform.python_version(),
        sys.implementation.name,
        sysconfig.get_config_var("SOABI") or "",
        sys.base_prefix,
    )


def _executables() -> list[str]:
    """Return what is called python3.N here, the oldest first, uv's own ones as well."""
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")  # noqa: PTH111
    managed = os.environ.get("UV_PYTHON_INSTALL_DIR") or f"{home}/uv/python"
    folders = [
        *os.environ.get("PATH", "").split(os.pathsep),
        *_PLACES,
        *sorted(glob.glob(f"{glob.escape(managed)}/*/bin")),  # noqa: PTH207 - as the others
    ]
    found: list[tuple[int, int, str]] = []
    for place, folder in enumerate(dict.fromkeys(folders)):
        if not folder.startswith("/"):
            continue
        try:
            names = os.listdir(folder)  # noqa: PTH208 - as above
        except OSError:
            continue
        for name in names:
            match = _NAME.fullmatch(name)
            if match and (3, int(match[1])) >= _OLDEST:
                found.append((int(match[1]), place, str(Path(folder) / name)))
    return [path for _, _, path in sorted(found)]


def _asked(path: str) -> Python | None:
    """Return what an executable says of itself; ``None`` if that is nothing of use."""
    try:
        answer = subprocess.run(  # noqa: S603 - an interpreter of the host's
            [path, "-I", "-S", "-c", _QUESTION],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_ANSWER_SECONDS,
            env={},
            cwd="/",
        )
        facts = json.loads(answer.stdout)
        return Python(*(str(facts[one.name]) for one in fields(Python)))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
