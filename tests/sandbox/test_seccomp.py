"""The seccomp table, tried call by call from inside a cell on this kernel."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner.sandbox.inside import seccomp
from toolrunner.sandbox.inside.syscalls import machine
from toolrunner.sandbox.layers import Layers

TRY_CALLS = """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def run(payload):
        answers = {}
        for name, number in payload["calls"].items():
            arguments = [ctypes.c_long(a) for a in payload.get("arguments", [-1] * 6)]
            ctypes.set_errno(0)
            result = libc.syscall(ctypes.c_long(number), *arguments)
            answers[name] = [result, ctypes.get_errno()]
        return answers
"""
NOT_CALLS = ("_AUDIT_ARCH", "_GAP")
# fmt: off
MUST_BE_DENIED = {
    "setsid", "setpgid", "unshare", "setns", "mount", "umount2", "pivot_root", "chroot",
    "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
    "init_module", "finit_module", "delete_module", "kexec_load", "bpf", "perf_event_open",
    "open_by_handle_at", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp",
    "setpriority", "sched_setscheduler", "sched_setparam", "sched_setattr", "sched_setaffinity",
    "ioprio_set", "keyctl", "add_key", "request_key", "io_uring_setup", "userfaultfd",
    "memfd_create", "memfd_secret", "shmget", "shmat", "semget", "msgget", "mq_open",
}
# fmt: on
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def test_every_denied_call_is_denied(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """EPERM from the filter, whatever else the kernel would have said to these arguments."""
    calls = seccomp.denied_calls(machine())
    assert set(calls) >= MUST_BE_DENIED
    tool_runner = make_runner(write_plugin(TRY_CALLS), layers=layers)
    result, error = tool_runner.run("sample", {"calls": calls})
    assert error is None
    assert result == {name: [-1, errno.EPERM] for name in calls}


def test_calls_newer_than_the_table_do_not_exist(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """What nobody has looked at yet answers as an older kernel would; so does clone3."""
    calls = {"clone3": 435, "setxattrat": 463, "later": 470, "much later": 4000, "gap": 400}
    tool_runner = make_runner(write_plugin(TRY_CALLS), layers=host_layers)
    result, error = tool_runner.run("sample", {"calls": calls})
    assert error is None
    assert result == {name: [-1, errno.ENOSYS] for name in calls}


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("clone", [0x10000000 | 17, 0, 0, 0, 0, 0]),  # CLONE_NEWUSER
        ("clone", [0x20000 | 17, 0, 0, 0, 0, 0]),  # CLONE_NEWNS
        ("clone", [0x8000 | 17, 0, 0, 0, 0, 0]),  # CLONE_PARENT
        ("ioctl", [0, 0x5412, 0, 0, 0, 0]),  # TIOCSTI
        ("ioctl", [0, 0x100005412, 0, 0, 0, 0]),  # the same to the kernel
        ("ioctl", [0, 0x541C, 0, 0, 0, 0]),  # TIOCLINUX
        ("prlimit64", [1, 7, 0, 0, 0, 0]),
        ("prlimit64", [0x100000001, 7, 0, 0, 0, 0]),
        ("prctl", [1, 0, 0, 0, 0, 0]),  # PR_SET_PDEATHSIG
        ("socketpair", [1, 2, 0, 0, 0, 0]),  # a datagram pair
        ("socketpair", [1, 5, 0, 0, 0, 0]),  # SOCK_SEQPACKET
        ("socketpair", [2, 1, 0, 0, 0, 0]),  # not AF_UNIX
    ],
)
def test_arguments_are_looked_at(
    call: str,
    arguments: list[int],
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    host_layers: Layers,
) -> None:
    """Some calls are needed, and dangerous only with certain arguments."""
    number = seccomp._BY_ARGUMENT[call][machine() == "aarch64"]
    tool_runner = make_runner(write_plugin(TRY_CALLS), layers=host_layers)
    result, error = tool_runner.run("sample", {"calls": {call: number}, "arguments": arguments})
    assert error is None
    assert result == {call: [-1, errno.EPERM]}


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_numbers_are_those_of_the_kernels_headers(arch: str) -> None:
    """Where the headers are installed (linux-libc-dev), every number of the table is theirs."""
    header = HEADERS[arch]
    known: dict[str, int] = {}
    if header.exists():
        pattern = re.compile(r"#define __NR(?:3264)?_(\w+)\s+(\d+)$", re.MULTILINE)
        known = {name: int(number) for name, number in pattern.findall(header.read_text())}
    column = ["x86_64", "aarch64"].index(arch)
    tables = [
        table
        for name, table in vars(seccomp).items()
        if isinstance(table, dict) and re.fullmatch("_[A-Z_]+", name) and name not in NOT_CALLS
    ]
    numbers = [(name, pair[column]) for table in tables for name, pair in table.items()]
    assert len(numbers) > 120
    wrong = [(n, v) for n, v in numbers if v >= 0 and known.get(n, v) != v]
    assert wrong == []
    used = [v for _, v in numbers if v >= 0]
    assert len(set(used)) == len(used)


@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5, 6])
def test_an_older_landlock_is_made_up_for(
    abi: int,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    no_namespaces: Layers,
    tmp_path: Path,
) -> None:
    """Without namespaces, foreign files and processes stay out of reach at every ABI."""
    foreign = tmp_path / "foreign"
    foreign.write_text("theirs")
    foreign.chmod(0o666)
    plugin = write_plugin(
        """
        import fcntl, os

        def run(payload):
            answers = {}
            tries = {
                "read": lambda: open(payload["foreign"]).read(),
                "truncate": lambda: os.truncate(payload["foreign"], 0),
                "chmod": lambda: os.chmod(payload["foreign"], 0o600),
                "utime": lambda: os.utime(payload["foreign"], (1, 1)),
                "setxattr": lambda: os.setxattr(payload["foreign"], "user.x", b"y"),
                "signal": lambda: os.kill(payload["victim"], 0),
                "signal by descriptor": lambda: fcntl.fcntl(0, fcntl.F_SETOWN, payload["victim"]),
                "own signal": lambda: os.kill(os.getpid(), 0),
                "own group": lambda: os.killpg(0, 0),
            }
            for name, attempt in tries.items():
                try:
                    attempt()
                    answers[name] = "done"
                except PermissionError:
                    answers[name] = "denied"
            return answers
        """
    )
    layers = replace(no_namespaces, landlock=min(abi, no_namespaces.landlock))
    tool_runner = make_runner(plugin, layers=layers)
    payload = {"foreign": str(foreign), "victim": os.getpid()}
    result, error = tool_runner.run("sample", payload)
    assert error is None
    denied = ("read", "truncate", "chmod", "utime", "setxattr", "signal")
    # From ABI 6 on Landlock lets a descriptor have any owner, and drops the signal when it is sent.
    by_descriptor = "denied" if layers.landlock < 6 else "done"
    assert result == {
        **dict.fromkeys(denied, "denied"),
        "signal by descriptor": by_descriptor,
        "own signal": "done",
        "own group": "done",
    }
    assert foreign.read_text() == "theirs"
