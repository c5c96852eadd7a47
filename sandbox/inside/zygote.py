"""The zygote: holds no rights, and forks cells from itself as the warden orders.

For a cold call it forks before the plugin is imported, so it never runs plugin code. For a warm
box it loads the plugin once, as its first order; after that nothing it says can be believed.
Cells are made with CLONE_PARENT: the warden is their parent, sees their true status and owns
their number.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import resource
import socket

from . import (
    caches,
    cell,
    inputs,
    kept_files,
    landlock,
    privileges,
    protocol,
    seccomp,
    wire,
    worker,
)
from .syscalls import CLONE_PARENT, PR_SET_DUMPABLE, Kernel, machine

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from .kept_files import KeptFile

_NICENESS = 5
_FIRST_TO_GO = 500
_UNKNOWN_DATA_BYTES = 64 << 20  # more than an interpreter that has imported nothing has
# Its own descriptors, above those of its cells.
_ORDERS, _STATM, _NULL = range(cell.RULESET + 1, cell.RULESET + 4)
LAST_DESCRIPTOR = _NULL


def main(kernel: Kernel, profile: dict[str, Any], orders: socket.socket) -> NoReturn:
    """Confine this process, say so, and obey every order until the warden is gone."""
    try:
        statm = open_statm()
        listener = confine(kernel, profile)
        if listener is not None:
            # To the warden alone: what holds it could answer its own questions.
            socket.send_fds(orders, [protocol.LISTENER], [listener])
            os.close(listener)
        place_own(orders.fileno(), statm)
        zygote = Zygote(cell.Plan(kernel, profile))
    except OSError as error:
        orders.send(json.dumps({"event": "failed", **cell.failure(error)}).encode())
        os._exit(1)
    orders.detach()  # its number is another's now
    try:
        zygote.report(protocol.READY)
        while True:
            zygote.obey()
    finally:
        os._exit(1)  # only code of a plugin's import can have brought it here


class Zygote:
    """What forks cells, with a plugin in it once one has been loaded."""

    def __init__(self, plan: cell.Plan) -> None:
        self._plan = plan
        self._orders = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=_ORDERS)
        self._channel: socket.socket | None = None
        self._plugin: worker.Plugin | None = None
        self._limits = cell.own_limits(plan.profile, data_bytes(), is_loaded=False)

    def report(self, text: bytes) -> None:
        """Say something to the warden."""
        self._orders.send(text)

    def obey(self) -> None:
        """Wait for one order and carry it out."""
        message, descriptors, _, _ = socket.recv_fds(
            self._orders, protocol.CONTROL_MESSAGE_CAP, protocol.ORDER_DESCRIPTORS
        )
        if not message:
            os._exit(0)
        order = json.loads(message)
        cell.prepare(order["scratch"], descriptors)
        scratch = order["scratch"]
        for descriptor in descriptors:
            os.close(descriptor)
        channel = self._channel = self._channel or cell.open_channel()
        if order["op"] == "load":
            os.chdir(scratch)
            self._load(channel)
            os.chdir("/")
        else:
            self.report(self._fork(order["cell"], channel, scratch, order["files"]).encode())
        # Keep nothing of a cell: its descriptors would never end, nor its scratch.
        cell.empty_descriptors(_NULL)

    def _fork(
        self, number: int, channel: socket.socket, scratch: str, files: list[KeptFile]
    ) -> str:
        """Fork one cell; return the report to the warden. In the cell this does not return.

        ``files``: what it shall have open of the import's.
        """
        assert self._plan.kernel is not None
        try:
            kept_files.open_anew(files)
            pid = self._plan.kernel.clone(CLONE_PARENT)
            if pid == 0:
                cell.enter(self._plan, channel, self._limits, scratch, self._plugin, files)
        except OSError as error:
            return f"{protocol.UNMADE} {number} {error.errno}"
        finally:
            kept_files.let_go(files, _NULL)  # before the report: the warden looks
        return f"{protocol.FORKED} {number} {pid}"

    def _load(self, channel: socket.socket) -> None:
        """Load the plugin in this very process, so that every cell begins with it.

        As in a cell, the parent hears on the call channel how that went.
        """
        program, source = wire.receive_load(channel)
        try:
            privileges.refuse_root()
            if self._plan.profile["rlimits"]:
                limit(self._plan.profile, data_bytes())
        except OSError as error:
            wire.send(channel, protocol.FAILED, cell.failure(error))
            os._exit(0)
        channel.sendall(worker.CONFINED_FRAME)
        self._plugin = worker.load(channel, cell.LOG, program, source)
        self._plan.folders = caches.folders()
        worker.forget_scratch()
        worker.flush_output()  # or every cell would write it as well
        assert self._plan.kernel is not None
        self._plan.kernel.flush()
        gc.collect()
        size = data_bytes()
        self._limits = cell.own_limits(self._plan.profile, size, is_loaded=True)
        gc.freeze()  # a collection in a cell would touch, and so copy, every page of it
        wire.send(channel, protocol.LOADED, {})


def limit(profile: dict[str, Any], data_bytes: int) -> None:
    """Set the limits of a process that loads a plugin, and lives on with it.

    It has none of processor time. Its cells may grow as much again as it does itself.
    """
    for number, value in cell.shared_limits(profile).items():
        cell.lower_rlimit(number, value, value)
    room = cell.memory_room(profile)
    cell.lower_rlimit(resource.RLIMIT_DATA, data_bytes + room, data_bytes + 2 * room)


def confine(kernel: Kernel, profile: dict[str, Any]) -> int | None:
    """Give up every right that no cell needs. What is set here holds for all of them.

    Return the descriptor on which the filter asks before signals are sent, if it does.
    """
    os.setpgid(0, 0)
    be_first_to_go()
    cell.default_signals()
    kernel.die_with_parent()
    privileges.give_up(kernel)
    privileges.check(kernel, profile)
    # A change of capabilities may clear it; the parent measures memory through /proc.
    kernel.prctl(PR_SET_DUMPABLE, int(not cell.hides_zygote(profile)))
    cell.lower_rlimit(resource.RLIMIT_CORE, 1, 1)
    # Many busy processes must not keep the watchdog, or the service, from running.
    os.nice(_NICENESS)
    if profile["landlock"]:
        # Not the folder above them: what holds a scratch is not a plugin's to replace.
        slots = [f"{profile['scratch']}/{slot}" for slot in range(profile["slots"])]
        given = inputs.root(profile)
        landlock.restrict(kernel, cell.own_ruleset(kernel, profile, slots, given))
    if profile["seccomp"]:
        program = seccomp.zygote_filter(
            machine(),
            network=profile["network"],
            mount_namespace="mount" in profile["namespaces"],
            landlock_abi=profile["landlock"],
            counted_memory=bool(profile.get("cgroup")),
            alone=profile["slots"] == 1,
            asks=profile["asks_before_signals"],
            hears_kills=profile["hears_kills"],
            keeps_modes=bool(profile["write"]),
        )
        if profile["hears_kills"]:
            return kernel.seccomp_listener(program)
        kernel.seccomp_filter(program)
    return None


def be_first_to_go() -> None:
    """Have the kernel end this process and its cells, not the warden, when memory is out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(_FIRST_TO_GO))


def open_statm() -> int:
    """Open this process's own figures while there is a /proc to see; -1 where there is none."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def place_own(orders: int, statm: int) -> None:
    """Put this process's own descriptors in their places, and nothing in those of its cells."""
    null = os.open("/dev/null", os.O_RDWR)
    sources = [null if d < 0 else d for d in (orders, statm, null)]
    copies = [fcntl.fcntl(d, fcntl.F_DUPFD_CLOEXEC, LAST_DESCRIPTOR + 1) for d in sources]
    for source, target in zip(copies, (_ORDERS, _STATM, _NULL), strict=True):
        os.dup2(source, target, inheritable=False)
    cell.empty_descriptors(_NULL)
    os.closerange(LAST_DESCRIPTOR + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def data_bytes() -> int:
    """Return this process's data segment, as RLIMIT_DATA counts it, in bytes."""
    fields = os.pread(_STATM, 256, 0).split()
    if not fields:
        return _UNKNOWN_DATA_BYTES
    return int(fields[5]) * resource.getpagesize()
