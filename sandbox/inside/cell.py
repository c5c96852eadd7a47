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
import sys

from . import caches, kept_files, landlock, privileges, protocol, seccomp, wire, worker
from .syscalls import PR_SET_DUMPABLE, Kernel, machine

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from .kept_files import KeptFile

MIB = 1024 * 1024
INPUT, OUTPUT, ERRORS, CHANNEL, LOG, RULESET = range(6)
LANDLOCK_WITH_SCOPES = 6  # the ABI that keeps signals inside of a domain
_ADDRESS_SPACE = 64 << 30  # more than libraries reserve; its page tables are 128 MiB a process
_MOST_SIGNALS = 1024  # queued signals and timers of a box's user: about half a megabyte
_MOST_CPU_SECONDS = 1_000_000_000
_GRACE_SECONDS = 1  # the kernel's clock is the second line: it starts after the watchdog's


class Plan:
    """What all cells of a box have in common, made before there is any plugin code."""

    def __init__(self, kernel: Kernel | None, profile: dict[str, Any]) -> None:
        self.kernel = kernel
        self.profile = profile
        self.folders: list[str] = []  # of an import's caches
        self._is_hidden = kernel is not None and hides_zygote(profile)
        self.descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.has_ruleset = kernel is not None and profile["landlock"] > 0
        self._filter = b""
        if not self._filtered():
            return
        if profile["landlock"] >= LANDLOCK_WITH_SCOPES or profile["asks_before_signals"]:
            self._filter = seccomp.cell_filter(machine())
        elif "pid" in profile["namespaces"]:
            # Nobody but these two shares it: below this ABI each call has a box of its own.
            supervisors = (1, os.getpid())
            self._filter = seccomp.cell_filter(machine(), spared=supervisors)

    def _filtered(self) -> bool:
        return self.kernel is not None and bool(self.profile["seccomp"])

    def filter_calls(self) -> None:
        """Put the calling cell under its own seccomp filter."""
        if self.kernel is None or not self._filtered():
            return
        self.kernel.seccomp_filter(
            self._filter or seccomp.cell_filter(machine(), only=(os.getpid(), 0))
        )

    def show(self) -> None:
        """Let the calling cell be measured, where what it was forked from hides itself."""
        if self.kernel is not None and self._is_hidden:
            self.kernel.prctl(PR_SET_DUMPABLE, 1)


def hides_zygote(profile: dict[str, Any]) -> bool:
    """Tell whether the zygote has to be out of its cell's sight by being undumpable.

    Landlock keeps a cell from the zygote's memory, environment and descriptors; without it that is
    a process of the same user with no more rights. (The warden is safe: it has a capability.)
    Nobody has to measure it then: every call has a box of its own, and it never runs a plugin.
    """
    return not profile["landlock"]


def prepare(scratch: str, descriptors: list[int]) -> None:
    """Make this process look as its next cell shall: descriptors and environment.

    Done before the fork where there is a zygote: each page that a cell touches is one to copy.
    """
    place_descriptors(descriptors)
    for name in ("HOME", "TMPDIR"):
        os.environ[name] = scratch


def enter(
    plan: Plan,
    channel: socket.socket,
    limits: dict[int, tuple[int, int]],
    scratch: str,
    plugin: worker.Plugin | None = None,
    files: Sequence[KeptFile] = (),
) -> NoReturn:
    """Confine this process, which has been prepared, and serve its one call.

    ``limits``: the kernel's that it has to set. Without a ``plugin``, the one that the zygote has
    loaded, it loads its own, and does nothing before the parent says so. ``files``: what it has
    open of the plugin's.
    """
    try:
        # Here and not before the fork: what stands in a scratch keeps it from being taken away.
        os.chdir(scratch)
        caches.make(plan.folders)
        kept_files.close_others(files, RULESET + plan.has_ruleset, plan.descriptors)
        order_to_load = None if plugin else wire.receive_load(channel)
        try:
            confine(plan, limits)
        except OSError as error:
            wire.send(channel, protocol.FAILED, failure(error))
            os._exit(0)
        if plugin is not None:
            worker.reseed()
            worker.rehearse()
        channel.sendall(worker.CONFINED_FRAME)
        if order_to_load is not None:
            plugin = worker.load(channel, LOG, *order_to_load)
            if order_to_load[0]["resident"]:
                worker.serve_many(channel, LOG, plugin)
            wire.send(channel, protocol.LOADED, {})
        assert plugin is not None
        worker.serve(channel, plugin, is_fresh=order_to_load is None)
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
    """Put all of a cell's descriptors in their places, with a Landlock ruleset if there is one."""
    if min(descriptors) <= RULESET:
        # Copies above all places, so that no dup2 overwrites what a later one needs.
        descriptors = [fcntl.fcntl(d, fcntl.F_DUPFD_CLOEXEC, RULESET + 1) for d in descriptors]
    channel, output, log, *ruleset = descriptors
    # Opened anew: flags and owner of an open file are common to all who have inherited it.
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, INPUT)
    os.close(null)
    os.dup2(output, OUTPUT)
    os.dup2(output, ERRORS)
    os.dup2(channel, CHANNEL, inheritable=False)
    os.dup2(log, LOG, inheritable=False)
    for descriptor in ruleset:
        os.dup2(descriptor, RULESET, inheritable=False)


def empty_descriptors(null: int) -> None:
    """Put ``null``, an open /dev/null, in all of these places."""
    for target in range(RULESET + 1):
        os.dup2(null, target, inheritable=target <= ERRORS)


# What Python ignores, to raise an exception instead; and what nobody can change.
_FOR_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGKILL, signal.SIGSTOP}


def default_signals() -> None:
    """Undo what this process has inherited from the warden, and from whoever started the runner.

    A shell in the background, or nohup, starts programs with signals ignored.
    """
    for number in signal.valid_signals() - _FOR_PYTHON:
        if signal.getsignal(number) not in {signal.SIG_DFL, None}:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)


def confine(plan: Plan, limits: dict[int, tuple[int, int]]) -> None:
    """Take the cell's last rights away: rlimits, Landlock, seccomp."""
    kernel, profile = plan.kernel, plan.profile
    privileges.refuse_root()
    plan.show()
    if kernel is not None and "pid" not in profile["namespaces"]:
        kernel.die_with_parent()
    for number, (soft, hard) in limits.items():
        set_rlimit(number, soft, hard)
    if kernel is not None and plan.has_ruleset:
        landlock.restrict(kernel, RULESET)
    plan.filter_calls()


def own_ruleset(
    kernel: Kernel, profile: dict[str, Any], writable: list[str], data: Sequence[str] = ()
) -> int:
    """Return a ruleset with what every process of the box may read, and folders to write to.

    ``data``: folders to read as well, with what the import has written, or a call was given.
    """
    writable = [*writable, *profile["write"]]
    rules = readable_rules(profile) + [(folder, landlock.EVERYTHING) for folder in writable]
    rules += [(folder, landlock.DATA) for folder in data]
    network, found = profile["network"], profile["found"]
    return landlock.build(kernel, profile["landlock"], rules, network=network, found=found)


def readable_rules(profile: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the Landlock rules for what every process of a box may read."""
    rules = [(path, landlock.READ_ONLY) for path in profile["read"]]
    rules += [(f"/{name}", landlock.READ_ONLY) for name in ("bin", "sbin", "lib", "lib32", "lib64")]
    rules += [(f"/dev/{name}", landlock.DEVICE) for name in ("null", "full")]
    # A shared map of /dev/zero that can be written to is memory that no figure shows.
    rules += [(f"/dev/{name}", landlock.READ_FILE) for name in ("zero", "random", "urandom")]
    if "mount" in profile["namespaces"]:
        # The root is the box's own: all that stands in it was put there for the plugin.
        rules += [("/etc", landlock.READ_ONLY), ("/proc", landlock.READ_ONLY)]
    return rules


def own_limits(
    profile: dict[str, Any], data_bytes: int, *, is_loaded: bool
) -> dict[int, tuple[int, int]]:
    """Return the kernel's limits that a cell sets, soft and hard, a little above the watchdog's.

    ``data_bytes``: the data segment of what it is forked from. ``is_loaded``: that has a plugin,
    and all the limits already that do not change.
    """
    if not profile["rlimits"]:
        return {}
    limits = profile["limits"]
    most = int(limits["cpu_seconds"] + 2 * limits["load_seconds"]) + _GRACE_SECONDS
    data = data_bytes + memory_room(profile)
    # While a plugin is loaded, its clock has not begun.
    soft = int(limits["cpu_seconds"]) + 2 * _GRACE_SECONDS if is_loaded else most
    # A resident moves its own with each call.
    hard = _MOST_CPU_SECONDS if profile["resident"] else max(soft, most)
    own = {resource.RLIMIT_DATA: (data, data), resource.RLIMIT_CPU: (soft, hard)}
    if not is_loaded:
        own.update({number: (value, value) for number, value in shared_limits(profile).items()})
    return {number: lowered(number, *pair) for number, pair in own.items()}


def memory_room(profile: dict[str, Any]) -> int:
    """Return by how many bytes a process of the box may grow before the kernel says no."""
    return int(profile["limits"]["memory_mb"] * MIB * 1.2)


def shared_limits(profile: dict[str, Any]) -> dict[int, int]:
    """Return the kernel's limits that are the same for all that runs a plugin in a box."""
    limits = profile["limits"]
    wanted = {
        # 1, not 0: the kernel pipes a core to a handler in spite of 0, and never with 1.
        resource.RLIMIT_CORE: 1,
        resource.RLIMIT_FSIZE: limits["scratch_mb"] * MIB,
        resource.RLIMIT_NOFILE: limits["open_files"],
    }
    for name, value in (
        ("RLIMIT_MSGQUEUE", 0),
        ("RLIMIT_RTPRIO", 0),
        ("RLIMIT_MEMLOCK", 64 * 1024),
        ("RLIMIT_SIGPENDING", _MOST_SIGNALS),
    ):
        if hasattr(resource, name):
            wanted[getattr(resource, name)] = value
    if sys.platform == "linux":
        # Page tables take a 512th part of what is mapped, even where only zeros were read.
        wanted[resource.RLIMIT_AS] = max(_ADDRESS_SPACE, 4 * limits["memory_mb"] * MIB)
    if profile["nproc_base"] is not None and hasattr(resource, "RLIMIT_NPROC"):
        # The kernel counts all that this user has in the box, and so for all of its cells.
        tasks = (limits["processes"] + limits["threads"]) * profile["slots"]
        wanted[resource.RLIMIT_NPROC] = profile["nproc_base"] + tasks
    return wanted


def lower_rlimit(number: int, soft: int, hard: int) -> None:
    """Set a limit to ``soft`` and ``hard``, or to what is less already."""
    set_rlimit(number, *lowered(number, soft, hard))


def lowered(number: int, soft: int, hard: int) -> tuple[int, int]:
    """Return a limit as far as this process may set it."""
    most = resource.getrlimit(number)[1]
    return (soft, hard) if most == resource.RLIM_INFINITY else (min(soft, most), min(hard, most))


def set_rlimit(number: int, soft: int, hard: int) -> None:
    """Set a limit; a refusal is an ``OSError``."""
    try:
        resource.setrlimit(number, (soft, hard))
    except ValueError as error:  # Python's word for EPERM
        raise PermissionError(errno.EPERM, f"setrlimit({number}): {error}") from error
