"""Writes packages as indexes have them, tiny ones and by hand: wheels, and sources with a build."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import textwrap
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

# The least that builds a wheel, with what a test wants to happen meanwhile.
_BACKEND = """
import base64, hashlib, os, sys, zipfile

def _happen(what):
{body}

def get_requires_for_build_wheel(config_settings=None):
    return []

def build_wheel(folder, config_settings=None, metadata_directory=None):
    files = dict(_happen("build") or {{}})
    info = "{name}-{version}.dist-info"
    files[info + "/METADATA"] = "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"
    files[info + "/WHEEL"] = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    record = ""
    for path, text in files.items():
        digest = hashlib.sha256(text.encode()).digest()
        digest = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        record += f"{{path}},sha256={{digest}},{{len(text.encode())}}\\n"
    files[info + "/RECORD"] = record + info + "/RECORD,,\\n"
    wheel = "{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, wheel), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel
"""
_PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "{name}"
version = "{version}"
"""


def write_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    files: Mapping[str, str] | None = None,
    *,
    requires: Iterable[str] = (),
) -> Path:
    """Write a wheel; by default with one module of its name that says its version."""
    files = {f"{name}.py": f"VERSION = {version!r}\n"} if files is None else files
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {one}" for one in requires]
    whole = {
        **files,
        f"{info}/METADATA": "\n".join(lines) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_hash(text)},{len(text)}\n" for path, text in whole.items())
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in {**whole, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(inner, text)
    path.chmod(0o644)
    return path


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def write_sources(
    folder: Path, name: str, body: str, version: str = "1.0", *, dynamic: bool = False
) -> Path:
    """Write a package that has to be built; ``body`` runs then, and returns its wheel's files.

    ``dynamic``: its metadata is not known before, so that it runs when it is looked at, too.
    """
    backend = _BACKEND.format(
        body=textwrap.indent(textwrap.dedent(body), "    "), name=name, version=version
    )
    project = _PROJECT.format(name=name, version=version)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    if dynamic:
        project = project.replace(f'version = "{version}"', 'dynamic = ["version", "dependencies"]')
        metadata = metadata.replace("2.1", "1.0")
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for inner, text in (
            ("pyproject.toml", project),
            ("backend.py", backend),
            ("PKG-INFO", metadata),
        ):
            entry = tarfile.TarInfo(f"{name}-{version}/{inner}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    path.chmod(0o644)
    return path


def write_needy(folder: Path, *dependencies: str, name: str = "needy", python: str = "") -> Path:
    """Write a plugin that needs something."""
    listed = ", ".join(f'"{one}"' for one in dependencies)
    lines = ["# /// script", f"# dependencies = [{listed}]"]
    if python:
        lines.append(f'# requires-python = "{python}"')
    lines += ["# [tool.toolrunner]", f'# name = "{name}"', '# input = "json"', "# ///"]
    path = folder / f"{name}.py"
    path.write_text("\n".join(lines) + "\ndef run(payload):\n    return {}\n", encoding="utf-8")
    return path
