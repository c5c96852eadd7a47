"""Finished environments below a state folder, and which wish each of them answers.

``STATE/environments/<digest>/`` is one, made elsewhere and renamed once, with what it is in its
``environment.json``; ``STATE/environments/wanted/<key>.json`` names the digest for a wish, and
``NAME.plugin`` beside it says that one was installed for a plugin of that name. Asked by the
runner before a plugin is used. Only reads: no network, no other program, and nothing of an
environment is ever imported.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from toolrunner.runner.environments.wish import Wish

FOLDER: Final = "environments"
WANTED: Final = "wanted"
BUILDING: Final = "building"
SERVED_SUFFIX: Final = ".plugin"  # of the mark in WANTED that a plugin has had one
RECORD: Final = "environment.json"
RECORD_CAP: Final = 8 * 1024 * 1024
FORMAT: Final = 1

_LOG = logging.getLogger("toolrunner.environments")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class DamagedError(Exception):
    """What lies in the store cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Package:
    """One distribution of an environment.

    ``bytes``: what its files take. ``sha256``: of the one file that it was made from, if that is
    known.
    """

    name: str
    version: str
    bytes: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """A finished environment.

    ``interpreter`` is the real executable of a Python of this host, which has none of these
    packages by itself; ``site_packages`` lies below ``folder``. ``identity``: of its record;
    another one once it has been made anew.
    """

    digest: str
    folder: Path
    interpreter: Path
    python_version: str
    site_packages: Path
    packages: tuple[Package, ...]
    identity: tuple[int, ...]

    def is_there(self) -> bool:
        """Tell whether nobody has removed it, nor put another in its place. Costs one ``stat``."""
        try:
            return _identity(os.stat(f"{self.folder}/{RECORD}")) == self.identity  # noqa: PTH116 - each call asks
        except OSError:
            return False


class EnvironmentStore:
    """The environments of one state folder; it need not be there. Thread-safe."""

    def __init__(self, state: Path) -> None:
        self.folder = state.absolute() / FOLDER
        self._told: set[str] = set()

    def find(self, wish: Wish) -> Environment | None:
        """Return the environment that answers a wish; ``None`` if there is none that can be used.

        Reads two small files. Why one that is there cannot be used stands in the log, once.
        """
        try:
            wanted, _ = _document(self.folder / WANTED / f"{wish.key}.json", self.folder / WANTED)
            return self.read(str(wanted.get("digest")))
        except FileNotFoundError:
            return None
        except (DamagedError, OSError) as error:
            reason = str(error)
            if reason not in self._told:
                self._told.add(reason)
                _LOG.warning("an environment cannot be used: %s; install it again", reason)
            return None

    def read(self, digest: str) -> Environment:
        """Return the environment of a digest; ``DamagedError`` or ``OSError`` if it is unusable."""
        if not is_digest(digest):
            message = f"{self.folder / WANTED} holds what is no digest"
            raise DamagedError(message)
        folder = self.folder / digest
        return _environment(folder, *_document(folder / RECORD, self.folder, folder))

    def has_answered_another(self, wish: Wish, place: str) -> bool:
        """Tell whether the plugin at a path has had an answer, to another wish than this one.

        After a ``prune`` nobody knows.
        """
        if os.path.lexists(self.folder / WANTED / f"{wish.key}.json"):
            return False
        found = sorted((self.folder / WANTED).glob("*.json"))
        return any(self._place_in(path) == place for path in found)

    def _place_in(self, path: Path) -> str:
        try:
            wanted, _ = _document(path, self.folder / WANTED)
        except (DamagedError, OSError):
            return ""
        return str(wanted.get("plugin", ""))

    def count(self) -> int:
        """Return how many environments are there, by their names alone; OSError if unreadable."""
        try:
            return sum(is_digest(path.name) for path in self.folder.iterdir())
        except FileNotFoundError:
            return 0

    def has_served(self, name: str) -> bool:
        """Tell whether an environment was ever installed for a plugin of that name."""
        return os.path.lexists(self.folder / WANTED / f"{name}{SERVED_SUFFIX}")


def is_digest(name: str) -> bool:
    """Tell whether a name is an environment's."""
    return _DIGEST.fullmatch(name) is not None


def this_platform() -> str:
    """Return the kind of host that an environment's compiled parts are for."""
    return sysconfig.get_platform()


def _document(path: Path, *folders: Path) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Return a record and its identity, once it is sure that nobody else can have written it."""
    for folder in folders:
        _check_owner(folder, folder.lstat())
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with os.fdopen(os.open(path, flags), "rb") as file:
        found = os.fstat(file.fileno())
        _check_owner(path, found)
        if not stat.S_ISREG(found.st_mode):
            message = f"{path} is not a regular file"
            raise DamagedError(message)
        data = file.read(RECORD_CAP + 1)
    try:
        document = json.loads(data) if len(data) <= RECORD_CAP else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        message = f"{path} is damaged"
        raise DamagedError(message)
    return document, _identity(found)


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in {0, os.geteuid()}:
        message = f"{path} belongs to user {found.st_uid}"
        raise DamagedError(message)
    if stat.S_ISLNK(found.st_mode) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        message = f"{path} can be changed by other users, or is a link"
        raise DamagedError(message)


def _environment(folder: Path, document: dict[str, Any], identity: tuple[int, ...]) -> Environment:
    """Return what a record says, if it is for this host and all of it is there."""
    try:
        python = document["python"]
        environment = Environment(
            document["digest"],
            folder,
            Path(python["executable"]),
            python["version"],
            folder / document["site_packages"],
            tuple(
                Package(one["name"], one["version"], one["bytes"], one.get("sha256"))
                for one in document["packages"]
            ),
            identity,
        )
        for_here = document["format"], document["platform"]
    except (KeyError, TypeError) as error:
        message = f"{folder / RECORD} is damaged ({type(error).__name__})"
        raise DamagedError(message) from None
    if environment.digest != folder.name or for_here != (FORMAT, this_platform()):
        message = f"{folder} is for another host, or of another version of toolrunner"
        raise DamagedError(message)
    if not os.access(environment.interpreter, os.X_OK):
        message = f"{environment.interpreter}, which {folder} was made for, is not there any more"
        raise DamagedError(message)
    if not environment.site_packages.is_dir():
        message = f"{environment.site_packages} is missing"
        raise DamagedError(message)
    return environment
