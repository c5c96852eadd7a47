"""The zygote: holds no rights, and forks cells from itself as the warden orders.

For a cold call it forks before the plugin is imported, so it never runs plugin code. Cells are
made with CLONE_PARENT: the warden is their parent, sees their true status and owns their number.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket

from . import cell, landlock, protocol, seccomp
from .syscalls import (
    CLONE_PARENT,
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    Kernel,
    machine,
)

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any, NoReturn

_NICENESS = 5
_UNKNOWN_DATA_BYTES = 64 << 20  # more than an interpreter that has imported nothing has


def main(kernel: Kernel, profile: dict[str, Any], orders: socket.socket) -> NoReturn:
    """Confine this process, say so, and fork a cell for every order until the warden is gone."""
    try:
        statm = open_statm()
        confine(kernel, profile)
    except OSError as error:
        orders.send(json.dumps({"event": "failed", **cell.failure(error)}).encode())
        os._exit(1)
    orders.send(b'{"event": "ready"}')
    while True:
        message, descriptors, _, _ = socket.recv_fds(orders, protocol.CONTROL_MESSAGE_CAP, 3)
        if not message:
            os._exit(0)
        order = json.loads(message)
        report = fork_cell(kernel, profile, order, descriptors, data_bytes(statm))
        for descriptor in descriptors:
            os.close(descriptor)
        orders.send(json.dumps(report).encode())


def confine(kernel: Kernel, profile: dict[str, Any]) -> None:
    """Give up every right that no cell needs. What is set here holds for all of them."""
    os.setpgid(0, 0)
    kernel.die_with_parent()
    kernel.hold_capabilities(0)
    kernel.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    kernel.prctl(PR_SET_NO_NEW_PRIVS, 1)
    # A change of capabilities may clear it; the parent measures memory through /proc.
    kernel.prctl(PR_SET_DUMPABLE, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    # Many busy processes must not keep the watchdog, or the service, from running.
    os.nice(_NICENESS)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    if profile["landlock"]:
        rules = cell.readable_rules(profile)
        rules.append((profile["scratch"], landlock.EVERYTHING))
        if "mount" in profile["namespaces"]:
            # Landlock never looks at the folder below a mount point, so /dev stands for the
            # /dev/shm that is mounted for each cell; all else in it is read-only anyway.
            rules.append(("/dev", landlock.EVERYTHING))
        landlock.restrict(
            kernel,
            landlock.build(kernel, profile["landlock"], rules, network=profile["network"]),
        )
    if profile["seccomp"]:
        program = seccomp.zygote_filter(
            machine(),
            network=profile["network"],
            mount_namespace="mount" in profile["namespaces"],
            landlock_abi=profile["landlock"],
        )
        kernel.seccomp_filter(program)


def fork_cell(
    kernel: Kernel,
    profile: dict[str, Any],
    order: dict[str, Any],
    descriptors: list[int],
    size: int,
) -> dict[str, Any]:
    """Fork one cell; return the report to the warden. In the cell this does not return."""
    try:
        pid = kernel.clone(CLONE_PARENT)
    except OSError as error:
        return {"event": "failed", "cell": order["cell"], **cell.failure(error)}
    if pid == 0:
        cell.enter(kernel, profile, order, descriptors, size)
    return {"event": "forked", "cell": order["cell"], "pid": pid}


def open_statm() -> int:
    """Open this process's own figures while there is a /proc to see; -1 where there is none."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def data_bytes(statm: int) -> int:
    """Return this process's data segment, as RLIMIT_DATA counts it, in bytes."""
    if statm < 0:
        return _UNKNOWN_DATA_BYTES
    fields = os.pread(statm, 256, 0).split()
    return int(fields[5]) * resource.getpagesize()
