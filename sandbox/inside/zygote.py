"""The zygote: holds no rights, and forks cells from itself as the warden orders.

For a cold call it forks before the plugin is imported, so it never runs plugin code. For a warm
box it loads the plugin once, as its first order; after that nothing it says can be believed.
Cells are made with CLONE_PARENT: the warden is their parent, sees their true status and owns
their number.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import socket

from . import cell, landlock, protocol, seccomp, worker
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
LAST_DESCRIPTOR = cell.FIRST_OTHER + 1  # while a plugin is loaded: orders, and its own statm


def main(kernel: Kernel, profile: dict[str, Any], orders: socket.socket) -> NoReturn:
    """Confine this process, say so, and obey every order until the warden is gone."""
    try:
        statm = open_statm()
        confine(kernel, profile)
        zygote = Zygote(cell.Plan(kernel, profile), orders, statm)
    except OSError as error:
        orders.send(json.dumps({"event": "failed", **cell.failure(error)}).encode())
        os._exit(1)
    orders.send(protocol.READY)
    try:
        while True:
            zygote.obey()
    finally:
        os._exit(1)  # only code of a plugin's import can have brought it here


class Zygote:
    """What forks cells, with a plugin in it once one has been loaded."""

    def __init__(self, plan: cell.Plan, orders: socket.socket, statm: int) -> None:
        self._plan = plan
        self._orders = orders
        self._statm = statm
        self._plugin: worker.Plugin | None = None

    def obey(self) -> None:
        """Wait for one order and carry it out."""
        message, descriptors, _, _ = socket.recv_fds(
            self._orders, protocol.CONTROL_MESSAGE_CAP, protocol.ORDER_DESCRIPTORS
        )
        if not message:
            os._exit(0)
        order = json.loads(message)
        if order["op"] == "load":
            self._load(order, descriptors)
            return
        report = self._fork(order, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self._orders.send(report.encode())

    def _fork(self, order: dict[str, Any], descriptors: list[int]) -> str:
        """Fork one cell; return the report to the warden. In the cell this does not return."""
        assert self._plan.kernel is not None
        size = data_bytes(self._statm)
        worker.flush_output()  # or every cell would write it as well
        try:
            pid = self._plan.kernel.clone(CLONE_PARENT)
        except OSError as error:
            return f"{protocol.UNMADE} {order['cell']} {error.errno}"
        if pid == 0:
            cell.enter(self._plan, order, descriptors, size, self._plugin)
        return f"{protocol.FORKED} {order['cell']} {pid}"

    def _load(self, order: dict[str, Any], descriptors: list[int]) -> None:
        """Load the plugin in this very process, so that every cell begins with it.

        As in a cell, the parent hears on the call channel how that went.
        """
        own = [self._orders.fileno()] + ([self._statm] if self._statm >= 0 else [])
        cell.place_descriptors([*descriptors, *own])
        self._orders.detach()
        self._orders = socket.socket(
            socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=cell.FIRST_OTHER
        )
        self._statm = cell.FIRST_OTHER + 1 if self._statm >= 0 else -1
        with cell.open_channel() as channel:
            program, source = worker.receive_load(channel)
            try:
                if self._plan.profile["rlimits"]:
                    cell.apply_rlimits(
                        self._plan.profile, order["limits"], data_bytes(self._statm), zygote=True
                    )
            except OSError as error:
                worker.send(channel, protocol.FAILED, cell.failure(error))
                os._exit(0)
            worker.send(channel, protocol.CONFINED, {})
            self._plugin = worker.load(channel, cell.LOG, program, source)
            worker.flush_output()
            for target in (cell.OUTPUT, cell.ERRORS, cell.LOG):
                os.dup2(cell.INPUT, target, inheritable=target != cell.LOG)
            gc.collect()
            gc.freeze()  # a collection in a cell would touch, and so copy, every page of it
            # The last that happens here, since the warden looks at this process after it.
            worker.send(channel, protocol.LOADED, {})


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
        landlock.restrict(kernel, cell.own_ruleset(kernel, profile, profile["scratch"]))
    if profile["seccomp"]:
        program = seccomp.zygote_filter(
            machine(),
            network=profile["network"],
            mount_namespace="mount" in profile["namespaces"],
            landlock_abi=profile["landlock"],
        )
        kernel.seccomp_filter(program)


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
