"""Tries each layer for real, in processes of their own, and prints what happened as JSON.

Started by the parent's probe with the same interpreter as boxes. A trial does what a box will
do with the layer and checks that it holds, so that "on" means on and not "the call exists".
"""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import signal
import socket
import sys

from . import cell, landlock, namespaces, privileges, seccomp
from .signal_scope import SignalScope
from .syscalls import PR_SET_NO_NEW_PRIVS, Kernel, Rights, machine

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class FailedError(Exception):
    """The layer's system calls worked and yet it does not hold."""


def main(arguments: list[str]) -> None:
    """Try every layer; ``arguments`` may give the host user of root's boxes."""
    uid = int(arguments[0]) if arguments and arguments[0] else None
    known = bool(machine())
    found: dict[str, Any] = {"machine": machine(), "trials": []}

    def record(layer: str, operation: str, trial: Callable[[], object]) -> bool:
        result = in_child(trial) if known else refused("this system is not a Linux we know")
        found["trials"].append({"layer": layer, "operation": operation, **result})
        return bool(result["ok"])

    kernel = Kernel() if known else None
    user = record(
        "namespaces.user",
        "clone(CLONE_NEWUSER), write /proc/PID/uid_map",
        lambda: try_namespaces(kernel, ["user"], uid, lambda: None),
    )
    base = ["user"] if user else []
    record(
        "namespaces.mount",
        "clone(CLONE_NEWNS), mount(tmpfs), mount_setattr, pivot_root",
        lambda: try_namespaces(kernel, [*base, "mount"], uid, lambda: try_root(kernel)),
    )
    record(
        "namespaces.pid",
        "clone(CLONE_NEWPID), getpid() == 1",
        lambda: try_namespaces(kernel, [*base, "pid"], uid, try_pid),
    )
    for name, flag in (("net", "CLONE_NEWNET"), ("ipc", "CLONE_NEWIPC"), ("uts", "CLONE_NEWUTS")):
        record(
            f"namespaces.{name}",
            f"clone({flag})",
            lambda name=name: try_namespaces(kernel, [*base, name], uid, lambda: None),  # type: ignore[misc]  # mypy cannot type a lambda's default
        )
    record(
        "proc",
        "mount(proc) in new mount and pid namespaces",
        lambda: try_namespaces(kernel, [*base, "mount", "pid"], uid, lambda: try_proc(kernel)),
    )
    record(
        "landlock", "landlock_restrict_self, open() of a file outside", lambda: try_landlock(kernel)
    )
    record("seccomp", "prctl(PR_SET_SECCOMP), socket()", lambda: try_seccomp(kernel))
    record(
        "seccomp_notify",
        "seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER), kill()",
        lambda: try_signal_scope(kernel),
    )
    record("rlimits", "setrlimit(RLIMIT_DATA), allocate more", try_rlimits)
    rights = kernel or (Rights() if sys.platform == "linux" else None)
    user_trial = in_child(lambda: try_user(rights, uid))
    operation = "setgroups, setresuid, capset, read back"
    found["trials"].append({"layer": "unprivileged_user", "operation": operation, **user_trial})
    json.dump(found, sys.stdout)


def refused(message: str) -> dict[str, object]:
    """Return the result of a trial that cannot be made."""
    return {"ok": False, "errno": None, "message": message}


def in_child(trial: Callable[[], object]) -> dict[str, object]:
    """Run a trial in a forked process, whose confinement then ends with it."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            result: dict[str, object] = {"ok": True, "detail": trial()}
        except OSError as error:
            result = {"ok": False, "errno": error.errno, "message": str(error)}
        except (FailedError, MemoryError) as error:
            result = {"ok": False, "errno": None, "message": str(error) or "out of memory"}
        os.write(write, json.dumps(result).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if not text:
        return refused(_ended(status))
    try:
        answer: dict[str, object] = json.loads(text)
    except ValueError:  # its end, as for want of memory, came in the middle of its words
        return refused(_ended(status))
    return answer


def _ended(status: int) -> str:
    return f"the trial ended with status {os.waitstatus_to_exitcode(status)}"


def try_namespaces(
    kernel: Kernel | None, names: list[str], uid: int | None, inside: Callable[[], object]
) -> object:
    """Make namespaces as the launcher does and run ``inside`` as their first process."""
    assert kernel is not None
    mapped, say_mapped = os.pipe()
    read, write = os.pipe()
    pid = kernel.clone(namespaces.clone_flags(names))
    if pid == 0:
        os.close(say_mapped)
        os.read(mapped, 1)
        result = in_here(inside)
        os.write(write, json.dumps(result).encode())
        os._exit(0)
    try:
        if "user" in names:
            namespaces.write_user_mapping(pid, uid)
        os.write(say_mapped, b"m")
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            text = pipe.read()
    finally:
        os.close(say_mapped)
        _, status = os.waitpid(pid, 0)
    result = json.loads(text) if text else {"errno": None, "message": _ended(status)}
    if "message" in result:
        raise OSError(result["errno"] or errno.EIO, result["message"])
    return None


def in_here(trial: Callable[[], object]) -> dict[str, object]:
    """Run a trial in this process and return how it went."""
    try:
        trial()
    except OSError as error:
        return {"errno": error.errno, "message": str(error)}
    except FailedError as error:
        return {"errno": None, "message": str(error)}
    return {}


def try_root(kernel: Kernel | None) -> None:
    """Build a root as a box does, out of almost nothing."""
    assert kernel is not None
    namespaces.build_root(kernel, trial_profile(proc=False))
    if os.path.exists("/root") or not os.path.isdir("/usr"):
        message = "the new root shows the wrong files"
        raise FailedError(message)


def trial_profile(*, proc: bool) -> dict[str, Any]:
    """Return the least that a root can be built from; the trial stays the user it is."""
    return {
        "namespaces": [],
        "uid": None,
        "landlock": 0,
        "read": ["/usr"],
        "write": [],
        "found": {},
        "inputs": "",
        "hide": [],
        "proc": proc,
        "slots": 1,
        "resident": False,
    }


def try_pid() -> None:
    """See that this is the first process of its namespace."""
    if os.getpid() != 1:
        message = f"the first process has number {os.getpid()}"
        raise FailedError(message)


def try_proc(kernel: Kernel | None) -> None:
    """Mount a process file system of one's own; containers that mask theirs forbid it."""
    assert kernel is not None
    namespaces.build_root(kernel, trial_profile(proc=True))
    if [name for name in os.listdir("/proc") if name.isdigit() and int(name) > 1]:
        message = "/proc shows other processes"
        raise FailedError(message)


def try_landlock(kernel: Kernel | None) -> int:
    """Restrict this process to nothing and see that a file is out of reach; return the ABI."""
    assert kernel is not None
    abi = kernel.landlock_abi()
    kernel.prctl(PR_SET_NO_NEW_PRIVS, 1)
    landlock.restrict(kernel, landlock.build(kernel, abi, [], network=False))
    try:
        os.close(os.open(os.__file__, os.O_RDONLY))
    except PermissionError:
        return abi
    message = "a file outside of the ruleset could be opened"
    raise FailedError(message)


def try_seccomp(kernel: Kernel | None) -> None:
    """Install both filters of a cell and see that they deny and allow."""
    assert kernel is not None
    kernel.prctl(PR_SET_NO_NEW_PRIVS, 1)
    kernel.seccomp_filter(
        seccomp.zygote_filter(machine(), network=False, mount_namespace=False, landlock_abi=0)
    )
    kernel.seccomp_filter(seccomp.cell_filter(machine(), only=(os.getpid(), 0)))
    for end in socket.socketpair():
        end.close()
    try:
        socket.socket().close()
    except PermissionError:
        return
    message = "a denied system call went through"
    raise FailedError(message)


HOLDS = b"holds"


def try_signal_scope(kernel: Kernel | None) -> None:
    """Have a process ask before it sends signals: to itself, to its child, to this one."""
    assert kernel is not None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        ours.close()
        theirs.send(signal_as_a_plugin(kernel, theirs).encode())
        os._exit(0)
    theirs.close()
    said, listeners, _, _ = socket.recv_fds(ours, 4096, 1)
    if listeners:
        scope = SignalScope(kernel, listeners[0], decides=True)
        asking = listeners[0]
        while select.select([asking, ours.fileno()], [], [])[0] == [asking]:
            scope.answer()
        said = ours.recv(4096)
    os.waitpid(pid, 0)
    if said != HOLDS:
        raise FailedError(said.decode() or "the process that tried it died")


def signal_as_a_plugin(kernel: Kernel, parent: socket.socket) -> str:
    """Install the filter, hand its listener over, send three signals; return what is wrong."""
    kernel.prctl(PR_SET_NO_NEW_PRIVS, 1)
    program = seccomp.zygote_filter(
        machine(), network=False, mount_namespace=False, landlock_abi=1, asks=True
    )
    try:
        listener = kernel.seccomp_listener(program)
    except OSError as error:
        return str(error)
    socket.send_fds(parent, [b"-"], [listener])
    os.close(listener)
    child = os.fork()
    if child == 0:
        kernel.die_with_parent()
        signal.pause()
    os.kill(os.getpid(), 0)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    try:
        os.kill(os.getppid(), 0)
    except PermissionError:
        return HOLDS.decode()
    return "a signal to another process went through"


def try_user(rights: Rights | None, uid: int | None) -> None:
    """Become what a box is without a user namespace: nobody's root, without a capability."""
    profile: dict[str, Any] = {"uid": uid, "namespaces": []}
    if uid is not None:
        privileges.become(rights, uid)
    if rights is not None:
        privileges.give_up(rights)
    privileges.check(rights, profile)


def try_rlimits() -> None:
    """Lower the data limit and see an allocation beyond it fail."""
    cell.lower_rlimit(resource.RLIMIT_CORE, 1, 1)
    cell.lower_rlimit(resource.RLIMIT_DATA, 64 * cell.MIB, 64 * cell.MIB)
    try:
        bytearray(128 * cell.MIB)
    except MemoryError:
        return
    message = "an allocation beyond RLIMIT_DATA went through"
    raise FailedError(message)
