"""What an environment holds, read from the metadata that installers leave behind.

The files may be hostile: they are read as text, under caps, and nothing is imported.
"""

from __future__ import annotations

import csv
import email.parser
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from toolrunner.runner.environments.pins import Pin
from toolrunner.runner.errors import one_line
from toolrunner.sandbox.building import Copied

_DIST_INFO = re.compile(r"([^/]+)\.dist-info")
_CACHED = re.compile(r"(.*/|)__pycache__/([^/]+)\.cpython-\d+\.pyc")
_TEXT_CAP = 4 * 1024 * 1024


def packages_of(site_packages: Path, copied: Copied, pins: Iterable[Pin]) -> list[dict[str, Any]]:
    """Return each distribution's name, version and bytes, by name; with its hash, if there is one.

    A compiled module counts as its source's distribution.
    """
    sizes = _with_compiled(copied)
    known = {pin.name: pin for pin in pins}
    found = []
    for folder in sorted({path.split("/")[0] for path in copied.sizes}):
        if not _DIST_INFO.fullmatch(folder):
            continue
        name, version = _identity(site_packages / folder / "METADATA", folder)
        files = set(_recorded(site_packages / folder / "RECORD"))
        package = {"name": name, "version": version, "bytes": sum(sizes[f] for f in files)}
        pin = known.get(canonicalize_name(name))
        hashes = [one.partition(":") for one in pin.hashes] if pin is not None else []
        if len(hashes) == 1 and hashes[0][0] == "sha256":
            package["sha256"] = hashes[0][2]
        found.append(package)
    return sorted(found, key=lambda package: str(package["name"]))


def _with_compiled(copied: Copied) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for path, size in copied.sizes.items():
        compiled = _CACHED.fullmatch(path)
        sizes[f"{compiled[1]}{compiled[2]}.py" if compiled else path] += size
    return sizes


def _identity(path: Path, folder: str) -> tuple[str, str]:
    stem, _, version = folder.removesuffix(".dist-info").partition("-")
    head = email.parser.HeaderParser().parsestr(_text(path))
    name, number = str(head["Name"] or stem)[:200], str(head["Version"] or version)[:100]
    return one_line(name), one_line(number)


def _recorded(path: Path) -> list[str]:
    """Return the files that a distribution lists as its own."""
    try:
        rows = list(csv.reader(_text(path).splitlines()))
    except csv.Error:
        return []
    return [posixpath.normpath(row[0]) for row in rows if row]


def _text(path: Path) -> str:
    """Return the beginning of a file, as far as it is text."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_TEXT_CAP).decode("utf-8", "replace")
