"""Gets packages of a Debian suite and unpacks them into a folder, by apt with lists of its own."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Archive:
    """The packages of one suite for one architecture, kept in a folder."""

    def __init__(self, cache: Path, suite: str, architecture: str) -> None:
        self._folder = folder = cache / f"apt-{suite}-{architecture}"
        self._packages = folder / "cache/archives"
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        sources = folder / "sources.list"
        sources.write_text(f"deb [signed-by={KEYRING}] {MIRROR} {suite} main\n", "utf-8")
        options = {
            "Dir::Etc::SourceList": sources,
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": folder / "lists",
            "Dir::State::Status": "/dev/null",
            "Dir::Cache": folder / "cache",
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "",
            "Debug::NoLocking": "true",
        }
        self._options = [
            part for name, value in options.items() for part in ("-o", f"{name}={value}")
        ]
        self._apt("apt-get", "-qq", "update")

    def _apt(self, tool: str, *arguments: str) -> str:
        command = [tool, *self._options, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    def dependency(self, package: str, pattern: str) -> str | None:
        """Return the first package of that name which another one depends on."""
        found = re.search(
            rf"Depends: ({pattern})$", self._apt("apt-cache", "depends", package), re.MULTILINE
        )
        return found[1] if found else None

    def unpack(self, packages: Iterable[str], folder: Path) -> None:
        """Unpack these packages alone."""
        before = set(self._packages.glob("*.deb"))
        for package in packages:
            self._unpack_files(self._download(["download", package], before), folder)

    def unpack_system(self, packages: Iterable[str], folder: Path) -> None:
        """Unpack these packages with all that they depend on; their scripts are not run.

        The system has its /bin and /lib in /usr.
        """
        for name in ("bin", "sbin", "lib", "lib64"):
            (folder / "usr" / name).mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(f"usr/{name}")
        order = ["install", "--yes", "--download-only", "--no-install-recommends", *packages]
        self._unpack_files(self._download(order, set()), folder)

    def _download(self, order: list[str], before: set[Path]) -> list[Path]:
        command = ["apt-get", "-qq", *self._options, *order]
        subprocess.run(command, cwd=self._packages, stdout=subprocess.DEVNULL, check=True)
        return sorted(set(self._packages.glob("*.deb")) - before)

    def _unpack_files(self, files: Iterable[Path], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            with subprocess.Popen(
                ["dpkg-deb", "--fsys-tarfile", str(file)], stdout=subprocess.PIPE
            ) as reader:
                command = ["tar", "--extract", "--keep-directory-symlink", "--no-same-owner"]
                subprocess.run([*command, f"--directory={folder}"], stdin=reader.stdout, check=True)
            if reader.returncode:
                raise subprocess.CalledProcessError(reader.returncode, "dpkg-deb")
