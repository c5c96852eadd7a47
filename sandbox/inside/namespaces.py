"""The box's namespaces: its user mapping, its root file system, its scratch folders.

The launcher, which stays outside, writes the user mapping; the warden, first process inside,
builds the root before anything else happens. Nothing here runs after plugin code has started
but ``mount_scratch``, ``set_aside`` and ``Kernel.unmount``, by the warden.
"""

from __future__ import annotations

import errno
import os
import sys

from . import landlock, protocol
from .syscalls import (
    MS_BIND,
    MS_MOVE,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    Kernel,
)

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any

CLONE_FLAGS = {
    "mount": 0x20000,
    "uts": 0x4000000,
    "ipc": 0x8000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}

BOX_UID = 1000  # the plugin's uid and gid as seen in a user namespace
SCRATCH_ROOT = "/scratch"
_ASIDE_MB = 1  # that a scratch may hold which stays mounted beside the next one
DEVICES = ("null", "zero", "full", "random", "urandom")
# Of /proc; what counts memory, processors and mounts stays.
_COVERED = (
    "vmstat", "zoneinfo", "buddyinfo", "pagetypeinfo", "slabinfo", "interrupts", "softirqs",
    "schedstat", "diskstats", "partitions", "cmdline", "config.gz", "iomem", "ioports", "modules",
    "kallsyms", "timer_list", "locks", "fs", "driver",
)  # fmt: skip
_STAGES = ("/var/tmp", "/mnt", "/media", "/srv", "/opt", "/tmp", "/run", "/home")
_ROOT_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = {
    "passwd": f"plugin:x:{BOX_UID}:{BOX_UID}::/scratch:/bin/false\n",
    "group": f"plugin:x:{BOX_UID}:\n",
    "hosts": "127.0.0.1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def box_user(profile: dict[str, Any]) -> int:
    """Return the user, and group, that a box's processes are, as seen from inside it."""
    if "user" in profile["namespaces"]:
        return BOX_UID
    return os.geteuid() if profile["uid"] is None else int(profile["uid"])


def clone_flags(names: list[str]) -> int:
    """Return the flags of clone(2) that make these namespaces."""
    return sum(CLONE_FLAGS[name] for name in names)


def write_user_mapping(pid: int, uid: int | None) -> None:
    """Map the box's users, from outside.

    ``uid`` is the host's user that the box shall be, for root; root itself is mapped as well
    for the set-up alone: it crosses folders that are root's by ownership. For an ordinary
    user ``uid`` is ``None`` and the box is that user.
    """
    proc = f"/proc/{pid}"
    if uid is None:
        _write(f"{proc}/setgroups", "deny")
        _write(f"{proc}/uid_map", f"{BOX_UID} {os.geteuid()} 1")
        _write(f"{proc}/gid_map", f"{BOX_UID} {os.getegid()} 1")
    else:
        _write(f"{proc}/uid_map", f"0 0 1\n{BOX_UID} {uid} 1")
        _write(f"{proc}/gid_map", f"0 0 1\n{BOX_UID} {uid} 1")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def build_root(kernel: Kernel, profile: dict[str, Any]) -> None:
    """Build a new root that holds what the plugin may see, and make it this process's root."""
    sources = [path for path in profile["read"] if os.path.exists(path)]
    # This process may yet import something of its own.
    stage = _stage([*sources, profile["inputs"], *profile["write"], sys.base_prefix])
    kernel.mount("", "/", "", MS_REC | MS_PRIVATE)
    kernel.mount("tmpfs", stage, "tmpfs", MS_NOSUID | MS_NODEV, "size=4m,mode=755")
    _bind_all(kernel, profile, stage, sources)
    _link_top_folders(kernel, stage)
    for folder in ("/proc", "/dev", "/etc", "/tmp", SCRATCH_ROOT):
        os.makedirs(stage + folder, exist_ok=True)
    # Each cell's own scratch, which is its working directory: cells share no memory.
    os.symlink("/proc/self/cwd", f"{stage}/dev/shm")
    for name in devices(profile):
        # Read-only: their times are the host's. That keeps nobody from writing to the device.
        _bind(kernel, f"/dev/{name}", f"{stage}/dev/{name}", MS_RDONLY | MS_NOSUID | MS_NOEXEC)
    for link, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(f"/proc/self/{target}", f"{stage}/dev/{link}")
    for folder in profile["hide"]:
        _hide(kernel, stage, folder)
    if profile["proc"]:
        kernel.mount(
            "proc", f"{stage}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=ptraceable"
        )
        _cover_host(kernel, stage)
    for name, text in _ETC.items():
        if not os.path.lexists(f"{stage}/etc/{name}"):
            _write(f"{stage}/etc/{name}", text)
    names = ("work", "load") if profile["resident"] else ("work",)
    _make_slots(kernel, stage, profile["slots"], names, box_user(profile))
    os.chdir(stage)
    kernel.pivot_root_here()
    os.chdir("/")
    kernel.restrict_mount("/", MS_RDONLY, recursive=False)


def _bind_all(kernel: Kernel, profile: dict[str, Any], stage: str, sources: list[str]) -> None:
    """Show what the plugin may read, what it may write to, and the files of its calls."""
    for source in sources:
        flags = MS_RDONLY | MS_NOSUID | MS_NODEV
        _bind(kernel, source, stage + source, flags, profile["found"].get(source))
    for folder in profile["write"]:
        _bind(kernel, folder, stage + folder, MS_NOSUID | MS_NODEV)
    if profile["inputs"]:
        flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
        _bind(kernel, profile["inputs"], stage + protocol.INPUTS, flags)


def _hide(kernel: Kernel, stage: str, folder: str) -> None:
    """Put an empty folder in the place of one that lies in what is shown."""
    target = stage + folder
    if os.path.isdir(target):
        nothing = f"{stage}/etc/.nothing"
        os.makedirs(nothing, exist_ok=True)
        kernel.mount(nothing, target, "", MS_BIND)
        kernel.restrict_mount(target, MS_RDONLY | MS_NOSUID | MS_NODEV, recursive=False)


def _cover_host(kernel: Kernel, stage: str) -> None:
    """Put nothing in the place of what /proc tells of the host that no plugin needs.

    Some of it are counters that one call can move and a later one read.
    """
    empty = f"{stage}/etc/.empty"
    _write(empty, "")
    for name in _COVERED:
        target = f"{stage}/proc/{name}"
        if os.path.exists(target):
            source = f"{stage}/tmp" if os.path.isdir(target) else empty
            kernel.mount(source, target, "", MS_BIND)
            kernel.restrict_mount(target, MS_RDONLY, recursive=False)


def devices(profile: dict[str, Any]) -> tuple[str, ...]:
    """Return the devices of the box.

    ``zero``, mapped shared and writable, is memory that no figure shows: it is there only where
    Landlock keeps it from being opened for writing.
    """
    return DEVICES if profile["landlock"] else tuple(name for name in DEVICES if name != "zero")


def _make_slots(kernel: Kernel, stage: str, slots: int, names: tuple[str, ...], owner: int) -> None:
    """Make the mount points of the cells' scratch folders, and let nobody write beside them."""
    root = stage + SCRATCH_ROOT
    options = f"size=1m,mode=711,uid={owner},gid={owner}"
    kernel.mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, options)
    for slot in range(slots):
        for name in names:
            os.makedirs(f"{root}/{slot}/{name}")
    kernel.restrict_mount(root, MS_RDONLY, recursive=False)


def _stage(sources: list[str]) -> str:
    """Return a folder to build the new root on: one that hides none of the sources."""
    for stage in _STAGES:
        if os.path.isdir(stage) and not any(
            s == stage or s.startswith(f"{stage}/") for s in sources
        ):
            return stage
    message = f"no folder to build the box's root on: tried {', '.join(_STAGES)}"
    raise OSError(message)


def _bind(
    kernel: Kernel, source: str, target: str, flags: int, known: list[int] | None = None
) -> None:
    """Show ``source`` as ``target``; ``known``: the device and inode that it has to be."""
    if known is not None:
        opened = landlock.open_known(source, known)
        try:
            _bind(kernel, f"/proc/self/fd/{opened}", target, flags)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            # It lost its last name since it was opened: the kernel mounts no such file.
            message = f"{source} was replaced while the box was built"
            raise landlock.ReplacedError(errno.ESTALE, message) from error
        finally:
            os.close(opened)
        return
    if os.path.lexists(target) and not os.path.ismount(target) and os.path.isfile(target):
        return  # visible already: an earlier bind holds it
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "a", encoding="ascii"):
            pass
    kernel.mount(source, target, "", MS_BIND | MS_REC)
    kernel.restrict_mount(target, flags, recursive=True)


def _link_top_folders(kernel: Kernel, stage: str) -> None:
    for name in _ROOT_LINKS:
        source = f"/{name}"
        if os.path.islink(source):
            os.symlink(os.readlink(source), stage + source)
        elif os.path.isdir(source):
            _bind(kernel, source, stage + source, MS_RDONLY | MS_NOSUID | MS_NODEV)


def forbid_more_namespaces() -> None:
    """Let nothing in this user namespace make another one."""
    _write("/proc/sys/user/max_user_namespaces", "0")


def is_unused(folder: str) -> bool:
    """Tell whether a scratch holds nothing, nor a file that is open without a name.

    Two inodes are ours: the root of the tmpfs, and the scratch in it.
    """
    space = os.statvfs(folder)
    return space.f_bfree == space.f_blocks and space.f_ffree >= space.f_files - 2


def set_aside(kernel: Kernel, folder: str, target: str) -> None:
    """Move a scratch that is in use; what it holds can hardly grow any more.

    ``OSError`` if it holds more than a little.
    """
    options = f"size={_ASIDE_MB}m,nr_inodes={_ASIDE_MB * 256}"
    kernel.mount("tmpfs", folder, "tmpfs", MS_REMOUNT | MS_NOSUID | MS_NODEV, options)
    kernel.mount(folder, target, "", MS_MOVE)


def mount_scratch(kernel: Kernel, folder: str, megabytes: int, owner: tuple[int, int]) -> None:
    """Mount a cell's scratch, a tmpfs of its own."""
    uid, gid = owner
    # An inode costs kernel memory that the size does not count: one for each 4 KiB.
    options = f"size={megabytes}m,nr_inodes={megabytes * 256 + 64},mode=700,uid={uid},gid={gid}"
    kernel.mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, options)
