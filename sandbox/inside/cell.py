"""A cell's way from its fork to the plugin: it gives up rights, one visible step after the other.

Called by the zygote in the child of each clone (and by the portable warden). Ends in the worker,
which never returns. In a warm box the plugin is there already, and the call comes later.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import socket

from . import landlock, protocol, seccomp, worker
from .syscalls import Kernel, machine

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any, NoReturn

MIB = 1024 * 1024
INPUT, OUTPUT, ERRORS, CHANNEL, LOG, FIRST_OTHER = range(6)
_GRACE_SECONDS = 1  # the kernel's clock is the second line: it starts after the watchdog's


class Plan:
    """What all cells of a box have in common, made before there is any plugin code."""

    def __init__(self, kernel: Kernel | None, profile: dict[str, Any]) -> None:
        self.kernel = kernel
        self.profile = profile
        self._scoped_signals = "pid" in profile["namespaces"] or profile["landlock"] >= 6
        self._filter = b""
        if self._filtered() and self._scoped_signals:
            self._filter = seccomp.cell_filter(machine(), own_pid=0, scoped_signals=True)

    def _filtered(self) -> bool:
        return self.kernel is not None and bool(self.profile["seccomp"])

    def filter_calls(self) -> None:
        """Put the calling cell under its own seccomp filter."""
        if self.kernel is None or not self._filtered():
            return
        self.kernel.seccomp_filter(
            self._filter
            or seccomp.cell_filter(machine(), own_pid=os.getpid(), scoped_signals=False)
        )


def enter(
    plan: Plan,
    order: dict[str, Any],
    descriptors: list[int],
    data_bytes: int,
    plugin: worker.Plugin | None = None,
) -> NoReturn:
    """Confine this process as ``order`` says and serve its one call.

    ``descriptors``: channel, output, log, and a Landlock ruleset where there is Landlock.
    ``data_bytes``: the data segment of what it was forked from. Without a ``plugin``, the one
    that the zygote has loaded, it loads its own, and does nothing before the parent says so.
    """
    try:
        place_descriptors(descriptors)
        channel = open_channel()
        order_to_load = None if plugin else worker.receive_load(channel)
        try:
            confine(plan, order, data_bytes)
        except OSError as error:
            worker.send(channel, protocol.FAILED, failure(error))
            os._exit(0)
        if plugin is not None:
            worker.reseed()
        worker.send(channel, protocol.CONFINED, {})
        if order_to_load is not None:
            plugin = worker.load(channel, LOG, *order_to_load)
            worker.send(channel, protocol.LOADED, {})
        assert plugin is not None
        worker.serve(channel, plugin)
    except OSError as error:
        # The parent has gone away, or the plugin has closed what leads to it.
        os.write(ERRORS, f"the call's channel is closed: {error}\n".encode())
    finally:
        os._exit(0)


def open_channel() -> socket.socket:
    """Return the call channel, in its place, as a socket."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=CHANNEL)


def failure(error: OSError) -> dict[str, Any]:
    """Return what the parent needs to know of a step of the set-up that failed."""
    return {
        "operation": getattr(error, "operation", type(error).__name__),
        "errno": error.errno,
        "message": str(error),
    }


def place_descriptors(descriptors: list[int]) -> None:
    """Put channel, output and log where the worker expects them, others from ``FIRST_OTHER`` on.

    Closes everything else.
    """
    end = FIRST_OTHER + len(descriptors) - 3
    # Copies above all targets, so that no dup2 overwrites what a later one needs.
    channel, output, log, *others = (
        fcntl.fcntl(d, fcntl.F_DUPFD_CLOEXEC, end) for d in descriptors
    )
    null = os.open("/dev/null", os.O_RDWR)
    places = [(null, INPUT), (output, OUTPUT), (output, ERRORS), (channel, CHANNEL), (log, LOG)]
    for source, target in (*places, *zip(others, range(FIRST_OTHER, end), strict=True)):
        os.dup2(source, target, inheritable=target <= ERRORS)
    os.closerange(end, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def confine(plan: Plan, order: dict[str, Any], data_bytes: int) -> None:
    """Take the cell's last rights away: scratch, environment, rlimits, Landlock, seccomp."""
    kernel, profile = plan.kernel, plan.profile
    scratch = order["scratch"]
    os.chdir(scratch)
    for name in ("HOME", "TMPDIR"):
        os.environ[name] = scratch
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(
            number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        )
    signal.set_wakeup_fd(-1)
    if kernel is not None and "pid" not in profile["namespaces"]:
        kernel.die_with_parent()
    if profile["rlimits"]:
        apply_rlimits(profile, order["limits"], data_bytes)
    if kernel is not None and profile["landlock"]:
        landlock.restrict(kernel, FIRST_OTHER)
    plan.filter_calls()


def own_ruleset(kernel: Kernel, profile: dict[str, Any], scratch: str) -> int:
    """Return a ruleset with the box's readable folders and one cell's scratch alone."""
    rules = [*readable_rules(profile), (scratch, landlock.EVERYTHING)]
    return landlock.build(kernel, profile["landlock"], rules, network=profile["network"])


def readable_rules(profile: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the Landlock rules for what every process of a box may read."""
    rules = [(path, landlock.READ_ONLY) for path in profile["read"]]
    rules += [(f"/{name}", landlock.READ_ONLY) for name in ("bin", "sbin", "lib", "lib32", "lib64")]
    rules += [
        (f"/dev/{name}", landlock.DEVICE) for name in ("null", "zero", "full", "random", "urandom")
    ]
    if "mount" in profile["namespaces"]:
        # The root is the box's own: all that stands in it was put there for the plugin.
        rules += [("/etc", landlock.READ_ONLY), ("/proc", landlock.READ_ONLY)]
    return rules


def apply_rlimits(
    profile: dict[str, Any], limits: dict[str, Any], data_bytes: int, *, zygote: bool = False
) -> None:
    """Set the kernel's own limits, a little above the watchdog's, which says more.

    A ``zygote`` that loads a plugin has no limit of processor time, since it lives on, and may
    not use as much memory as its cells may after it.
    """
    memory = int(limits["memory_mb"] * MIB * 1.2)
    cpu = int(limits["cpu_seconds"] + 2 * limits["load_seconds"]) + _GRACE_SECONDS
    wanted = {
        # 1, not 0: the kernel pipes a core to a handler in spite of 0, and never with 1.
        resource.RLIMIT_CORE: 1,
        resource.RLIMIT_DATA: data_bytes + memory,
        resource.RLIMIT_FSIZE: limits["scratch_mb"] * MIB,
        resource.RLIMIT_NOFILE: limits["open_files"],
    }
    if not zygote:
        wanted[resource.RLIMIT_CPU] = cpu
    for name, value in (
        ("RLIMIT_MSGQUEUE", 0),
        ("RLIMIT_RTPRIO", 0),
        ("RLIMIT_MEMLOCK", 64 * 1024),
    ):
        if hasattr(resource, name):
            wanted[getattr(resource, name)] = value
    if profile["nproc_base"] is not None and hasattr(resource, "RLIMIT_NPROC"):
        # The kernel counts all that this user has in the box, and so for all of its cells.
        tasks = (limits["processes"] + limits["threads"]) * profile["slots"]
        wanted[resource.RLIMIT_NPROC] = profile["nproc_base"] + tasks
    for number, value in wanted.items():
        room = memory if zygote and number == resource.RLIMIT_DATA else 0
        lower_rlimit(number, value, value + room)


def lower_rlimit(number: int, soft: int, hard: int) -> None:
    """Set a limit to ``soft`` and ``hard``, or to what is less already."""
    most = resource.getrlimit(number)[1]
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    try:
        resource.setrlimit(number, (soft, hard))
    except ValueError as error:  # Python's word for EPERM
        raise PermissionError(errno.EPERM, f"setrlimit({number}): {error}") from error
