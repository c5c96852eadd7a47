"""The cgroups of a runner and of its boxes: made, used again, removed, swept."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import secrets

from toolrunner.sandbox import forks
from toolrunner.sandbox.cgroups.files import OpenFiles, remove_tree
from toolrunner.sandbox.cgroups.group import Group
from toolrunner.sandbox.cgroups.place import Place, hand_down
from toolrunner.sandbox.limits import MIB, Limits

PREFIX = "toolrunner-"
# Above the limit, which the watchdog enforces and names: in its interval a process takes this much.
CEILING_FACTOR, CEILING_SLACK = 1.1, 8 * MIB
# An import and a call together: a call may write to what it shares with the import, and so copy it.
BOTH_FACTOR, BOTH_SLACK = 1.25, 64 * MIB
_SUPERVISORS = 2  # warden and zygote, beside the cell of a box that has only one


class BoxGroups:
    """The cgroups of one box: of its import, and of each slot once a cell is ordered for it."""

    def __init__(self, place: Place, path: str, limits: Limits, files: OpenFiles) -> None:
        self._place = place
        self._files = files
        self._path = path
        self._limits = limits
        self._group = Group(place, path, files)
        self._group.hand_down()
        self._slots: dict[int, Group] = {}
        self._spent = 0
        self.imported = self._make("import", supervisors=_SUPERVISORS)

    def _make(self, name: str, inherited_bytes: int = 0, supervisors: int = 0) -> Group:
        limits = self._limits
        group = Group(
            self._place,
            f"{self._path}/{name}",
            self._files,
            inherited_bytes=inherited_bytes,
            supervisors=supervisors,
        )
        memory = limits.memory_mb * MIB
        ceiling = int(memory * CEILING_FACTOR) + CEILING_SLACK
        both = int(memory * BOTH_FACTOR) + BOTH_SLACK
        try:
            group.limit(min(ceiling, both - inherited_bytes), limits.processes + limits.threads)
            group.begin()
        except OSError:
            group.close()
            raise
        return group

    def slot(self, slot: int) -> Group:
        """Return a slot's cgroup, for the cell that is about to be ordered."""
        group = self._slots.get(slot)
        if group is not None:
            if group.begin():
                return group
            self._spent += 1
            group.remove()
        name = f"{slot}.{self._spent}" if self._spent else str(slot)
        inherited = self.imported.figures().memory_bytes
        group = self._slots[slot] = self._make(name, inherited)
        return group

    def remove(self) -> None:
        """Remove all of them, after the box's last process."""
        self.close()
        self._group.remove()

    def rest(self) -> None:
        """Let go of descriptors that can be opened anew."""
        for group in (self.imported, *self._slots.values()):
            group.rest()

    def close(self) -> None:
        """Let go of descriptors; what is left is removed with the runner's."""
        for group in (self.imported, *self._slots.values()):
            group.close()


class Cgroups:
    """A runner's cgroups. Thread-safe after its making; begins anew in a fork."""

    def __init__(self, place: Place) -> None:
        """Make the runner's own, and remove what runners that have died left behind."""
        self._place = place
        sweep(place)
        self._name, self._locks = _make_locked(place)
        self._numbers = itertools.count()
        self._files = OpenFiles()
        try:
            if place.version == 2:  # noqa: PLR2004 - a version of the kernel's interface
                hand_down(f"{place.folders['memory']}/{self._name}")
        except OSError:
            self.close()
            raise
        forks.in_each_child(self, Cgroups._let_go)

    def _let_go(self) -> None:
        """Leave the parent's cgroups to it; the locks are the parent's alone."""
        _unlock(self._locks)

    def box(self, limits: Limits) -> BoxGroups:
        """Make the cgroups of a box; ``OSError`` if the kernel refuses."""
        if not self._locks:
            raise OSError(errno.ESHUTDOWN, "these cgroups have been removed, or are a parent's")
        return BoxGroups(self._place, f"{self._name}/{next(self._numbers)}", limits, self._files)

    def close(self) -> None:
        """Remove them all, after the last box."""
        if not self._locks:
            return
        with contextlib.suppress(OSError):  # what is busy still is swept by the next runner
            for folder in reversed(dict.fromkeys(self._place.folders.values())):
                remove_tree(f"{folder}/{self._name}")
        self._files.forget("")
        _unlock(self._locks)


def _make_locked(place: Place) -> tuple[str, list[int]]:
    """Make a runner's cgroup in every hierarchy; return its name and descriptors that lock it.

    In each, since runners of different cgroups in one hierarchy may have one in another together.
    """
    while True:
        name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        locks: list[int] = []
        try:
            for folder in dict.fromkeys(place.folders.values()):
                os.mkdir(f"{folder}/{name}")
                # A sweep may take it for a dead runner's before it is locked.
                with contextlib.suppress(FileNotFoundError, BlockingIOError):
                    locks.append(_lock(f"{folder}/{name}"))
                    os.stat(f"{folder}/{name}")
                    continue
                break
            else:
                return name, locks
        except OSError:
            _unlock(locks)
            raise
        _unlock(locks)


def _lock(folder: str) -> int:
    """Lock a cgroup; return the descriptor that holds the lock."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _unlock(locks: list[int]) -> None:
    while locks:
        os.close(locks.pop())


def sweep(place: Place) -> None:
    """Remove the cgroups of runners that have died: those that nobody holds locked."""
    for folder in dict.fromkeys(place.folders.values()):
        for name in _named(folder):
            with contextlib.suppress(OSError):
                lock = _lock(f"{folder}/{name}")
                try:
                    remove_tree(f"{folder}/{name}")
                finally:
                    os.close(lock)


def _named(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.startswith(PREFIX)]
    except OSError:
        return []
