"""What a plugin needs beside the standard library, as its author wrote it down.

Asked by whoever looks for a plugin's environment, and by whoever makes one. Reads the manifest
that is known and the lock beside the plugin; never the network, and never plugin code.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from toolrunner.plugins.requirements import fits_this_python
from toolrunner.sandbox import paths

if TYPE_CHECKING:
    from toolrunner.plugins.plugin import Plugin

SCRIPT_LOCK_SUFFIX = ".lock"
FOLDER_LOCKS = ("uv.lock", "requirements.txt")  # the first that is there counts

_LOCK_CAP = 16 * 1024 * 1024


@dataclass(frozen=True)
class Wish:
    """What an environment has to hold.

    ``lock``: the bytes of what pins it, of the name ``lock_name``; ``None`` where nothing does.
    """

    dependencies: tuple[str, ...]
    requires_python: str | None
    lock: bytes | None = None
    lock_name: str | None = None

    @property
    def key(self) -> str:
        """A name for this wish; another one when anything of it has changed."""
        lock = None if self.lock is None else hashlib.sha256(self.lock).hexdigest()
        parts = {
            "dependencies": sorted({normalised(text) for text in self.dependencies}),
            "requires-python": str(SpecifierSet(self.requires_python or "")),
            "lock": lock,
            "lock-name": self.lock_name,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def wish_of(plugin: Plugin) -> Wish | None:
    """Return what a plugin needs; ``None``: nothing beyond this interpreter, or nothing else.

    Raises ``OSError`` for a lock that is there and cannot be read.
    """
    if plugin.manifest.environment == "runner" or plugin.manifest.command:
        return None
    dependencies = plugin.manifest.dependencies
    requires_python = plugin.manifest.requires_python or None
    lock_name, lock = _lock_of(plugin)
    is_own = plugin.manifest.environment == "own"
    fits = fits_this_python(plugin.manifest)
    if not dependencies and lock is None and not is_own and fits:
        return None
    return Wish(dependencies, requires_python, lock, lock_name)


def place_of(plugin: Plugin) -> str:
    """Return the path by which a plugin is known beside what it has wished for."""
    return os.path.abspath(plugin.found_at)  # noqa: PTH100 - no link of it is followed


def normalised(text: str) -> str:
    """Return a requirement in the one way in which all who mean the same would write it."""
    requirement = Requirement(text)
    requirement.name = canonicalize_name(requirement.name)
    return str(requirement)


def _lock_of(plugin: Plugin) -> tuple[str | None, bytes | None]:
    """Return the name and the bytes of what pins a plugin's dependencies."""
    path = _lock_path(plugin)
    return (None, None) if path is None else (lock_name(path), read_capped(path))


def _lock_path(plugin: Plugin) -> Path | None:
    return next((path for path in lock_paths(plugin) if os.path.lexists(path)), None)


def lock_found(plugin: Plugin) -> str:
    """Return the name of the file that is a plugin's lock, or ""."""
    path = _lock_path(plugin)
    return "" if path is None else path.name


def read_capped(path: Path) -> bytes:
    """Return a file beside a plugin; ``OSError`` for a foreign link, and for what is too large."""
    with os.fdopen(paths.open_file(str(path)), "rb") as file:
        data = file.read(_LOCK_CAP + 1)
    if len(data) > _LOCK_CAP:
        message = f"{path} is larger than {_LOCK_CAP // 1024**2} MiB"
        raise OSError(message)
    return data


def lock_paths(plugin: Plugin) -> tuple[Path, ...]:
    """Return where a plugin's lock may lie; the first that is there counts.

    uv's own, which ``plugins lock`` makes, is the first of them.
    """
    # Where it lies now: a deployment may have swapped the links that lead to it.
    path = Path(os.path.realpath(plugin.found_at))
    if plugin.kind == "file":
        return (path.with_name(path.name + SCRIPT_LOCK_SUFFIX),)
    return tuple(path / name for name in FOLDER_LOCKS)


def lock_name(path: Path) -> str:
    """Return what kind of lock a file is: its name, or "script.lock" beside a single file."""
    return path.name if path.name in FOLDER_LOCKS else "script.lock"
