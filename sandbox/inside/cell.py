"""A cell's way from its fork to the plugin: it gives up rights, one visible step after the other.

Called by the zygote in the child of each clone (and by the portable warden). Ends in the worker,
which never returns.
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
_INPUT, _OUTPUT, _ERRORS, _CHANNEL, _LOG = range(5)
_GRACE_SECONDS = 1  # the kernel's clock is the second line: it starts after the watchdog's


def enter(
    kernel: Kernel | None,
    profile: dict[str, Any],
    order: dict[str, Any],
    descriptors: list[int],
    data_bytes: int,
) -> NoReturn:
    """Confine this process as ``order`` says and serve its one call."""
    try:
        place_descriptors(descriptors)
        channel = socket.socket(fileno=_CHANNEL)
        load, source = worker.receive_load(channel)
        try:
            confine(kernel, profile, order, data_bytes)
        except OSError as error:
            worker.send(channel, protocol.FAILED, failure(error))
            os._exit(0)
        worker.send(channel, protocol.CONFINED, {})
        worker.serve(channel, _LOG, load, source)
    except OSError as error:
        # The parent has gone away, or the plugin has closed what leads to it.
        os.write(_ERRORS, f"the call's channel is closed: {error}\n".encode())
    finally:
        os._exit(0)


def failure(error: OSError) -> dict[str, Any]:
    """Return what the parent needs to know of a step of the set-up that failed."""
    return {
        "operation": getattr(error, "operation", type(error).__name__),
        "errno": error.errno,
        "message": str(error),
    }


def place_descriptors(descriptors: list[int]) -> None:
    """Put channel, output and log where the worker expects them; close everything else."""
    # Copies above all targets, so that no dup2 overwrites what a later one needs.
    channel, output, log = (fcntl.fcntl(d, fcntl.F_DUPFD_CLOEXEC, _LOG + 1) for d in descriptors)
    null = os.open("/dev/null", os.O_RDWR)
    for source, target in (
        (null, _INPUT),
        (output, _OUTPUT),
        (output, _ERRORS),
        (channel, _CHANNEL),
        (log, _LOG),
    ):
        os.dup2(source, target, inheritable=target <= _ERRORS)
    os.closerange(_LOG + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def confine(
    kernel: Kernel | None, profile: dict[str, Any], order: dict[str, Any], data_bytes: int
) -> None:
    """Take the cell's last rights away: scratch, environment, rlimits, Landlock, seccomp."""
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
    if kernel is None:
        return
    if profile["landlock"]:
        landlock.restrict(kernel, own_ruleset(kernel, profile, scratch))
    if profile["seccomp"]:
        scoped = "pid" in profile["namespaces"] or profile["landlock"] >= 6
        kernel.seccomp_filter(
            seccomp.cell_filter(machine(), own_pid=os.getpid(), scoped_signals=scoped)
        )


def own_ruleset(kernel: Kernel, profile: dict[str, Any], scratch: str) -> int:
    """Return a ruleset with the box's readable folders and this cell's scratch alone."""
    rules = readable_rules(profile)
    rules.append((scratch, landlock.EVERYTHING))
    if "mount" in profile["namespaces"]:
        rules.append(("/dev/shm", landlock.EVERYTHING))
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


def apply_rlimits(profile: dict[str, Any], limits: dict[str, Any], data_bytes: int) -> None:
    """Set the kernel's own limits, a little above the watchdog's, which says more."""
    memory = limits["memory_mb"] * MIB
    cpu = int(limits["cpu_seconds"] + 2 * limits["load_seconds"]) + _GRACE_SECONDS
    wanted = {
        # 1, not 0: the kernel pipes a core to a handler in spite of 0, and never with 1.
        resource.RLIMIT_CORE: 1,
        resource.RLIMIT_DATA: data_bytes + int(memory * 1.2),
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_FSIZE: limits["scratch_mb"] * MIB,
        resource.RLIMIT_NOFILE: limits["open_files"],
    }
    for name, value in (
        ("RLIMIT_MSGQUEUE", 0),
        ("RLIMIT_RTPRIO", 0),
        ("RLIMIT_MEMLOCK", 64 * 1024),
    ):
        if hasattr(resource, name):
            wanted[getattr(resource, name)] = value
    if profile["nproc_base"] is not None and hasattr(resource, "RLIMIT_NPROC"):
        tasks = limits["processes"] + limits["threads"]
        wanted[resource.RLIMIT_NPROC] = profile["nproc_base"] + tasks
    for number, value in wanted.items():
        lower_rlimit(number, value)


def lower_rlimit(number: int, value: int) -> None:
    """Set a limit, soft and hard, to ``value`` or to what is less already."""
    hard = resource.getrlimit(number)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    try:
        resource.setrlimit(number, (value, value))
    except ValueError as error:  # Python's word for EPERM
        raise PermissionError(errno.EPERM, f"setrlimit({number}): {error}") from error
