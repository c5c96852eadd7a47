"""Where this process may make cgroups: found out from its own, and by trying."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from toolrunner.sandbox.cgroups.files import read, write

_NEEDED = ("memory", "pids")


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process may make cgroups: ``folders``, by controller.

    "cpu" is where processor time can be read; version 1 may lack it.
    """

    version: int
    folders: Mapping[str, str]


def find() -> Place:
    """Return where cgroups can be made; ``OSError`` says what is missing."""
    own = _own_paths()
    mounts = list(_mounts())
    first_error: OSError | None = None
    for look in (_version_2, _version_1):
        try:
            return look(own, mounts)
        except OSError as error:
            first_error = first_error or error
    assert first_error is not None
    raise first_error


def _own_paths() -> dict[str, str]:
    """Return this process's cgroup by controller; that of version 2 has the name ""."""
    paths = {}
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        for line in file:
            _, names, path = line.rstrip("\n").split(":", 2)
            paths.update(dict.fromkeys(names.split(","), path))
    return paths


@dataclass(frozen=True, slots=True)
class _Mount:
    kind: str
    root: str
    point: str
    options: frozenset[str]

    def folder(self, path: str) -> str | None:
        """Return where a cgroup is seen, if this mount shows it."""
        inside = os.path.relpath(path, self.root)
        return None if inside.startswith("..") else os.path.normpath(f"{self.point}/{inside}")


def _mounts() -> Iterator[_Mount]:
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            head, _, tail = line.partition(" - ")
            kind, _, options = tail.split()
            if kind in {"cgroup", "cgroup2"}:
                fields = head.split()
                yield _Mount(kind, fields[3], fields[4], frozenset(options.split(",")))


def _version_1(own: Mapping[str, str], mounts: list[_Mount]) -> Place:
    folders = {}
    for name, controller in (("memory", "memory"), ("pids", "pids"), ("cpu", "cpuacct")):
        for mount in mounts:
            if mount.kind == "cgroup" and controller in mount.options and controller in own:
                folder = mount.folder(own[controller])
                if folder is not None:
                    folders[name] = folder
    missing = [name for name in _NEEDED if name not in folders]
    if missing:
        raise OSError(errno.ENOENT, f"no cgroup of version 1 or 2 with {' and '.join(missing)}")
    _check_writable(folders["memory"])
    if "cpu" in folders and not os.access(folders["cpu"], os.W_OK):
        del folders["cpu"]
    return Place(1, folders)


def _version_2(own: Mapping[str, str], mounts: list[_Mount]) -> Place:
    mount = next((m for m in mounts if m.kind == "cgroup2"), None)
    folder = mount.folder(own[""]) if mount is not None and "" in own else None
    if folder is None:
        raise OSError(errno.ENOENT, "no cgroup of version 2 is mounted")
    error: OSError | None = None
    above = os.path.dirname(folder)
    for place in (folder, *([above] if _is_delegated(above) else [])):
        try:
            _check_writable(place)
            hand_down(place)
        except OSError as reason:
            error = error or reason
        else:
            return Place(2, {"memory": place, "pids": place, "cpu": place})
    assert error is not None
    raise error


def _is_delegated(folder: str) -> bool:
    """Tell whether a folder above ours was given to us to make cgroups in.

    systemd says so in an attribute (``Delegate=``); to an ordinary user it gives the folder.
    """
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    with contextlib.suppress(OSError):
        return os.geteuid() != 0 and os.stat(folder).st_uid == os.geteuid()
    return False


def _check_writable(folder: str) -> None:
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, "this process may make no cgroup there", folder)


def hand_down(folder: str) -> None:
    """Give the cgroups in a folder of version 2 their controllers; it may hold no process."""
    present = read(f"{folder}/cgroup.controllers").split()
    missing = [name for name in _NEEDED if name not in present]
    if missing:
        message = f"it has no controller {' and '.join(missing)}"
        raise OSError(errno.ENODEV, message, folder)
    if not set(_NEEDED) <= set(read(f"{folder}/cgroup.subtree_control").split()):
        write(f"{folder}/cgroup.subtree_control", "+memory +pids")
