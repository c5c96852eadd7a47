"""The seccomp table, tried call by call from inside a cell on this kernel."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.bpf import ALLOWED, ARCHES, ASKED, run
from toolrunner.sandbox.inside import seccomp, seccomp_table
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
# fmt: off
MUST_BE_DENIED = {
    "setsid", "setpgid", "unshare", "setns", "mount", "umount2", "pivot_root", "chroot",
    "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
    "init_module", "finit_module", "delete_module", "kexec_load", "bpf", "perf_event_open",
    "open_by_handle_at", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp",
    "setpriority", "sched_setscheduler", "sched_setparam", "sched_setattr",
    "ioprio_set", "keyctl", "add_key", "request_key", "io_uring_setup", "userfaultfd",
    "memfd_create", "memfd_secret", "shmget", "shmat", "semget", "msgget", "mq_open",
}
# fmt: on


def filter_of(arch: str, *, counted_memory: bool = False) -> bytes:
    """Return a zygote's filter as most hosts need it."""
    return seccomp.zygote_filter(
        arch, network=False, mount_namespace=True, landlock_abi=7, counted_memory=counted_memory
    )


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


E = errno
TRIED_BY_ARGUMENT = [
    ("clone", [0x10000000 | 17], E.EPERM),  # CLONE_NEWUSER
    ("clone", [0x20000 | 17], E.EPERM),  # CLONE_NEWNS
    ("clone", [0x8000 | 17], E.EPERM),  # CLONE_PARENT
    ("ioctl", [0, 0x5412], E.ENOTTY),  # TIOCSTI
    ("ioctl", [0, 0x100005412], E.ENOTTY),  # the same to the kernel
    ("ioctl", [0, 0x541C], E.ENOTTY),  # TIOCLINUX
    ("ioctl", [0, 0x8901], E.ENOTTY),  # FIOSETOWN
    ("ioctl", [0, 0x5452], E.ENOTTY),  # FIOASYNC
    ("ioctl", [0, 0x40086602], E.ENOTTY),  # FS_IOC_SETFLAGS
    ("ioctl", [0, 0x40047602], E.ENOTTY),  # FS_IOC32_SETVERSION
    ("ioctl", [0, 0x40049409], E.ENOTTY),  # FICLONE
    ("prlimit64", [1, 7], E.EPERM),
    ("prlimit64", [0x100000001, 7], E.EPERM),
    ("prctl", [1], E.EPERM),  # PR_SET_PDEATHSIG
    ("prctl", [4, 0], E.EPERM),  # PR_SET_DUMPABLE
    ("prctl", [22, 2], E.EPERM),  # PR_SET_SECCOMP
    ("prctl", [78, 1, 4096], E.EINVAL),  # PR_FUTEX_HASH
    ("prctl", [62, 1], E.EINVAL),  # PR_SCHED_CORE
    ("fcntl", [0, 1024, 0], E.EPERM),  # F_SETLEASE
    ("fcntl", [0, 1026, 1], E.EPERM),  # F_NOTIFY
    ("fcntl", [0, 8, 1], E.EPERM),  # F_SETOWN
    ("fcntl", [0, 15, 0], E.EPERM),  # F_SETOWN_EX
    ("fcntl", [0, 10, 9], E.EPERM),  # F_SETSIG
    ("fcntl", [0, 1031, 1 << 20], E.EPERM),  # F_SETPIPE_SZ
    ("fcntl", [0, 0x100000407, 1 << 20], E.EPERM),  # the same to the kernel
    ("fcntl", [0, 1036, 0], E.EPERM),  # F_SET_RW_HINT
    ("fcntl", [-1, 6, 0], 0),  # F_SETLK
    ("fcntl", [-1, 38, 0], 0),  # F_OFD_SETLKW
    ("setsockopt", [3, 1, 26], E.EPERM),  # SO_ATTACH_FILTER
    ("setsockopt", [-1, 1, 7], 0),  # SO_SNDBUF
    ("madvise", [0, 0, 12], E.EINVAL),  # MADV_MERGEABLE
    ("madvise", [-1, 1, 21], 0),  # MADV_PAGEOUT
    ("socketpair", [1, 2], E.EPERM),  # a datagram pair
    ("socketpair", [1, 5], E.EPERM),  # SOCK_SEQPACKET
    ("socketpair", [2, 1], E.EPERM),  # not AF_UNIX
]


@pytest.mark.parametrize(("call", "arguments", "answer"), TRIED_BY_ARGUMENT)
@pytest.mark.parametrize("arch", seccomp._AUDIT_ARCH)
def test_a_program_looks_at_arguments(
    arch: str, call: str, arguments: list[int], answer: int
) -> None:
    """As the kernel would run it, on an architecture that need not be this one."""
    number = seccomp_table.BY_ARGUMENT[call][arch == "aarch64"]
    programs = (filter_of(arch), seccomp.cell_filter(arch))
    assert run(programs, arch, number, arguments) == answer


def test_this_kernel_looks_at_arguments_as_the_programs_do(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """Some calls are needed, and dangerous or common to all only with certain arguments."""
    column = machine() == "aarch64"
    tool_runner = make_runner(write_plugin(TRY_CALLS), layers=host_layers)
    for call, arguments, answer in TRIED_BY_ARGUMENT:
        calls = {call: seccomp_table.BY_ARGUMENT[call][column]}
        padded = [*arguments, *[0] * (6 - len(arguments))]
        result, error = tool_runner.run("sample", {"calls": calls, "arguments": padded})
        assert error is None
        wanted = [-1, answer] if answer else [0, 0]
        assert result == {call: wanted}, (call, arguments)


@pytest.mark.parametrize("arch", seccomp._AUDIT_ARCH)
def test_shared_anonymous_memory_is_for_boxes_whose_memory_is_counted(arch: str) -> None:
    """MAP_SHARED, MAP_SHARED_VALIDATE; private memory and shared files are for all."""
    number = seccomp_table.BY_ARGUMENT["mmap"][arch == "aarch64"]
    shared, validated, private, file = 0x21, 0x23, 0x22, 0x01
    for counted in (False, True):
        program = filter_of(arch, counted_memory=counted)
        for flags in (shared, validated, shared | 0x4000 | 1 << 32):
            answer = run([program], arch, number, [0, 4096, 3, flags])
            assert answer == (ALLOWED if counted else errno.EPERM)
        for flags in (private, file, 0x02, 0x20 | 0x08):
            assert run([program], arch, number, [0, 4096, 3, flags]) == ALLOWED


@pytest.mark.parametrize("arch", seccomp._AUDIT_ARCH)
def test_groups_answer_as_they_should(arch: str) -> None:
    """EPERM, ENOSYS, ENOTSUP, success without the call; foreign architectures nothing at all."""
    column = arch == "aarch64"
    answers = {
        errno.ENOSYS: (seccomp_table.UNKNOWN,), errno.ENOTSUP: (seccomp_table.ATTRIBUTES,),
        0: (seccomp_table.WITHOUT_EFFECT,), errno.EPERM: seccomp_table.ALWAYS_DENIED,
    }  # fmt: skip
    programs = (filter_of(arch), seccomp.cell_filter(arch))
    for answer, groups in answers.items():
        for name, numbers in (item for group in groups for item in group.items()):
            if numbers[column] != seccomp_table.ABSENT:
                assert run(programs, arch, numbers[column], [0] * 6) == answer, name
                assert run(programs, "i386", numbers[column], [0] * 6) == errno.EPERM
                if arch == "x86_64":
                    assert run(programs, arch, numbers[0] | 1 << 30, [0] * 6) == errno.EPERM
    newer = [463, 470, 1000, 1 << 20]
    assert {run(programs, arch, number, []) for number in newer} == {errno.ENOSYS}


@pytest.mark.parametrize("arch", seccomp._AUDIT_ARCH)
def test_supervisors_are_not_signalled(arch: str) -> None:
    """Where Landlock has no scope: not by number, group, thread, queue or with everybody else."""
    column = arch == "aarch64"
    program = seccomp.cell_filter(arch, spared=(1, 2))
    signals = seccomp_table.SIGNALS_BY_NUMBER | seccomp_table.OTHER_SIGNALS
    for name, numbers in signals.items():
        if name != "pidfd_send_signal":
            for target in (1, 2, -1, -2, 1 | 1 << 32):
                assert run([program], arch, numbers[column], [target, 15]) == errno.EPERM
            for target in (0, 3, -3, 17):
                assert run([program], arch, numbers[column], [target, 15]) == ALLOWED
    by_descriptor = signals["pidfd_send_signal"][column]
    assert run([program], arch, by_descriptor, [3, 15]) == errno.EPERM
    only = seccomp.cell_filter(arch, only=(7, 0))
    kill = signals["kill"][column]
    assert [run([only], arch, kill, [target, 15]) for target in (7, 0)] == [ALLOWED] * 2
    assert [run([only], arch, kill, [t, 15]) for t in (1, -1, 8, -7)] == [errno.EPERM] * 4


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_signals_are_asked_about(arch: str) -> None:
    """But for one's own group; to everybody, with a value and by descriptor they are denied."""
    column = list(ARCHES).index(arch)
    program = seccomp.zygote_filter(
        arch, network=False, mount_namespace=True, landlock_abi=5, asks=True
    )
    for name in ("kill", "tgkill", "tkill"):
        number = (seccomp_table.SIGNALS_BY_NUMBER | seccomp_table.OTHER_SIGNALS)[name][column]
        for target in (1, 17, -17):
            assert run([program], arch, number, [target, 15]) == ASKED
    kill = seccomp_table.SIGNALS_BY_NUMBER["kill"][column]
    assert run([program], arch, kill, [0, 15]) == ALLOWED
    assert run([program], arch, kill, [-1, 15]) == errno.EPERM
    assert run([program], arch, kill, [0xFFFFFFFF, 15]) == errno.EPERM
    for name in ("rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"):
        number = seccomp_table.OTHER_SIGNALS[name][column]
        assert run([program], arch, number, [0, 15]) == errno.EPERM


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
                except OSError:
                    answers[name] = "denied"
            return answers
        """
    )
    layers = replace(no_namespaces, landlock=min(abi, no_namespaces.landlock))
    tool_runner = make_runner(plugin, layers=layers)
    payload = {"foreign": str(foreign), "victim": os.getpid()}
    result, error = tool_runner.run("sample", payload)
    assert error is None
    denied = ("read", "truncate", "chmod", "utime", "setxattr", "signal", "signal by descriptor")
    assert result == {
        **dict.fromkeys(denied, "denied"),
        "own signal": "done",
        "own group": "done",
    }
    assert foreign.read_text() == "theirs"
