"""The warden's way into its place: session, root, user, capabilities, in this order.

Called once, by the warden, before there is a zygote. What fails here is the host's fault.
"""

from __future__ import annotations

import os
import resource
import signal

from . import cell, namespaces, privileges
from .syscalls import (
    CAP_SYS_ADMIN,
    MS_RDONLY,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    Kernel,
)

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any


def set_up(kernel: Kernel, profile: dict[str, Any]) -> None:
    """Take this process into its place: parent, root, user, capabilities, in this order."""
    has_pid_namespace = "pid" in profile["namespaces"]
    # A session is what is swept, and what the scheduler shares the processors between.
    os.setsid()
    if not has_pid_namespace:
        kernel.prctl(PR_SET_CHILD_SUBREAPER, 1)
    if "mount" in profile["namespaces"]:
        namespaces.build_root(kernel, profile)
    os.umask(0o077)
    cell.lower_rlimit(resource.RLIMIT_CORE, 1, 1)
    become_box_user(kernel, profile)
    if "mount" not in profile["namespaces"]:
        for slot in range(profile["slots"]):
            os.mkdir(slot_folder(profile, slot))
    # After the change of user, which clears both.
    kernel.prctl(PR_SET_DUMPABLE, 1)
    if has_pid_namespace:
        kernel.die_with_parent()
    else:
        # It must live to sweep: the signal is caught.
        kernel.die_with_parent(signal.SIGTERM)


def become_box_user(kernel: Kernel, profile: dict[str, Any]) -> None:
    """Leave root behind, keeping the one capability that mounting scratch folders needs."""
    in_user_namespace = "user" in profile["namespaces"]
    if not in_user_namespace and profile["uid"] is None:
        return  # an ordinary user without namespaces: there is nothing to give up
    if profile["proc"] and "mount" in profile["namespaces"]:
        if in_user_namespace:
            namespaces.forbid_more_namespaces()
        # From here on nobody in the box writes to another process by it, Landlock or not.
        kernel.restrict_mount("/proc", MS_RDONLY, recursive=False)
    if profile["uid"] is None:
        kernel.lock_privileges()
    else:
        privileges.become(kernel, namespaces.box_user(profile))
    mounts = "mount" in profile["namespaces"]
    kernel.hold_capabilities(1 << CAP_SYS_ADMIN if mounts else 0)


def slot_folder(profile: dict[str, Any], slot: int) -> str:
    """Return the folder that holds the scratch of a slot's cells; no plugin can replace it."""
    return f"{profile['scratch']}/{slot}"
