"""Whom root's plugins run as: an unprivileged user of the host, or nobody at all.

Decided here before a box is made; the box itself gives root up and reads it back
(``inside/privileges.py``).
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from toolrunner.sandbox import interpreter
from toolrunner.sandbox.ending import SetupFailure
from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.interpreter import Interpreter
from toolrunner.sandbox.layers import Layers, floor_gaps

# Host users for the boxes of root, in the range that systemd gives to services of no fixed user.
FIRST_BOX_UID, BOX_UIDS = 61184, 4096
LAST_BOX_UID = FIRST_BOX_UID + BOX_UIDS - 1

NO_OTHER_USER = (
    f"run as an ordinary user, or map users {FIRST_BOX_UID} to {LAST_BOX_UID}, which plugins are "
    "given, into this user namespace (rootless containers: /etc/subuid and /etc/subgid)"
)
NOT_ALLOWED = (
    "run as an ordinary user, or leave root CAP_SETUID, CAP_SETGID and CAP_SETPCAP (in a "
    "container: --cap-add)"
)


# Files of mode 0600, which the kernel shows to the host's own root alone, whatever a namespace
# calls it, and for no capability: sysctls go by the user (test_perm in fs/proc/proc_sysctl.c).
_FOR_ROOTS_EYES = ("/proc/sys/vm/mmap_rnd_bits", "/proc/sys/kernel/usermodehelper/bset")


def is_the_hosts_root() -> bool:
    """Tell whether the host's root is behind this process's user, under any number."""
    return any(os.access(path, os.R_OK, effective_ids=True) for path in _FOR_ROOTS_EYES)


def is_root() -> bool:
    """Tell whether this process is root, or has been and can be again."""
    if sys.platform == "linux" and is_the_hosts_root():
        return True
    if hasattr(os, "getresuid"):
        return 0 in os.getresuid()
    return os.name == "posix" and 0 in {os.getuid(), os.geteuid()}


def _mapping() -> list[tuple[int, int, int]] | None:
    """Return this process's users: first here, first in the namespace above, and how many.

    ``None`` where there is no such thing.
    """
    try:
        lines = Path("/proc/self/uid_map").read_text("ascii").splitlines()
    except OSError:
        return None
    return [(int(here), int(above), int(count)) for here, above, count in map(str.split, lines)]


def box_uid(number: int) -> int | None:
    """Return the host user for the ``number``-th box, for root; ``None`` for ordinary users.

    ``None`` as well where root is alone: in a user namespace that has no such user.
    """
    if os.name != "posix" or os.geteuid() != 0:
        return None
    uid = FIRST_BOX_UID + number % BOX_UIDS
    mapping = _mapping()
    if mapping is None or any(here <= uid < here + count for here, _, count in mapping):
        return uid
    return None


def refusal(
    layers: Layers, uid: int | None, python: Interpreter | None = None
) -> SetupFailure | None:
    """Return why a box with these layers must not be made for ``uid``, as ``box_uid`` gives it.

    ``None`` if it may. Nothing that the operator accepts changes that. ``python``: what it is run
    by, if that is not the runner's own.
    """
    return _root_gap(layers, uid) or _reach_gap(layers, uid, python)


def _root_gap(layers: Layers, uid: int | None) -> SetupFailure | None:
    """Return why the plugin would be root; ``None`` if it would not.

    An ordinary user who is called root in a namespace of its own may: with all that the floor
    asks for, and a user namespace in which the plugin is not root even by name.
    """
    if uid is not None or not is_root():
        return None
    above = next((above for here, above, _ in _mapping() or [] if here == 0), 0)
    is_only_called_root = above != 0 and not is_the_hosts_root()
    if is_only_called_root and "user" in layers.namespaces and not floor_gaps(layers):
        return None
    message = (
        f"a plugin would run as root: none of users {FIRST_BOX_UID} to {LAST_BOX_UID} exists here"
    )
    return SetupFailure(protocol.UNPRIVILEGED, message, remedy=NO_OTHER_USER)


def _reach_gap(layers: Layers, uid: int | None, python: Interpreter | None) -> SetupFailure | None:
    """Return why the box's user could not get at the interpreter; ``None`` if it can.

    With a mount namespace, it finds all that it needs in a root of its own.
    """
    if uid is None or "mount" in layers.namespaces:
        return None
    needed = python or interpreter.own()
    there = [path for path in needed.packages if os.path.exists(path)]  # else it is met as gone
    if folder := unreachable_by(uid, there):
        message = f"the box's user cannot cross {folder} to the plugin's environment"
        remedy = (
            f"let every user cross it (chmod o+x {folder}), keep the state elsewhere "
            "(TOOLRUNNER_STATE), run as an ordinary user, or allow mount namespaces"
        )
        return SetupFailure("reach the environment", message, remedy=remedy)
    folder = unreachable_by(uid, [path for path in needed.needs if path not in needed.packages])
    if folder is None:
        return None
    message = f"the box's user cannot cross {folder} to the Python interpreter"
    remedy = (
        "run a Python that every user can read (such as the system's own), run as an "
        "ordinary user, or allow mount namespaces"
    )
    return SetupFailure("reach the interpreter", message, remedy=remedy)


def unreachable_by(uid: int, paths: Iterable[str]) -> str | None:
    """Return a folder on the way to ``paths`` that another user than root cannot cross.

    Where the box has no root of its own, its user has to get at the interpreter by itself.
    """
    for path in paths:
        for folder in Path(path).parents:
            try:
                found = folder.stat()
            except OSError:
                return str(folder)
            if not found.st_mode & stat.S_IXOTH and found.st_uid != uid:
                return str(folder)
    return None
