"""Who the processes of a box are, and what they may do: given up, and read back.

The same for a box with every layer and for one with none. What cannot be given up, or is still
there when it is read back, ends the set-up: no plugin code ever runs as root.
"""

from __future__ import annotations

import errno
import os

from . import namespaces, protocol
from .syscalls import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_GET_NO_NEW_PRIVS,
    PR_SET_NO_NEW_PRIVS,
    Rights,
)

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any


class PrivilegeError(OSError):
    """A process cannot become, or is not, what may run a plugin."""

    operation = protocol.UNPRIVILEGED


def become(rights: Rights | None, user: int) -> None:
    """Make root this user, with a group of the same number and no others.

    ``rights``: ``None`` where there are no capabilities. What is held of them stays held.
    """
    try:
        if rights is not None:
            rights.lock_privileges()
        os.setgroups([])
        if hasattr(os, "setresuid"):
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        else:
            # As root, these two set the saved ones as well.
            os.setgid(user)
            os.setuid(user)
    except OSError as error:
        message = f"root cannot become user {user}: {error.strerror or error}"
        raise PrivilegeError(error.errno or errno.EPERM, message) from error


def give_up(rights: Rights) -> None:
    """Give up every capability, and the way to any: an ordinary user may hold some as well."""
    rights.hold_capabilities(0)
    rights.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    rights.prctl(PR_SET_NO_NEW_PRIVS, 1)


def check(rights: Rights | None, profile: dict[str, Any]) -> None:
    """Read it all back, before there is any plugin code; raise ``PrivilegeError`` if some is left.

    An ordinary user keeps groups of its own and, without a user namespace, the bounding set: it
    can give up neither, and ``no_new_privs`` makes that set worth nothing.
    """
    user = namespaces.box_user(profile)
    was_root = profile["uid"] is not None
    left = [f"user {number}" for number in sorted(users() - {user} | users() & {0})]
    if was_root:
        left += [f"group {number}" for number in sorted(groups() - {user})]
    if rights is not None:
        sets = rights.capabilities()
        if not was_root and "user" not in profile["namespaces"]:
            del sets["bounding"]
        left += [f"{name} capabilities {held:#x}" for name, held in sets.items() if held]
        if rights.prctl(PR_GET_NO_NEW_PRIVS) != 1:
            left.append("a way to new privileges")
    if left:
        raise PrivilegeError(errno.EPERM, f"what would run the plugin still has {', '.join(left)}")


def refuse_root() -> None:
    """Raise ``PrivilegeError`` if this process, which is about to load a plugin, is root's."""
    if 0 in users():
        raise PrivilegeError(errno.EPERM, "what would run the plugin is root")


def users() -> set[int]:
    """Return the users that this process is: real, effective and, where they are told, saved."""
    return set(os.getresuid()) if hasattr(os, "getresuid") else {os.getuid(), os.geteuid()}


def groups() -> set[int]:
    """Return all groups that this process is in."""
    own = os.getresgid() if hasattr(os, "getresgid") else (os.getgid(), os.getegid())
    return {*own, *os.getgroups()}
