"""No two calls have anything in common that one could write to and the other read."""

from __future__ import annotations

import ctypes
import itertools
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import PATIENCE_SECONDS, value
from toolrunner import Call, ToolRunner
from toolrunner.sandbox.inside.syscalls import machine
from toolrunner.sandbox.layers import Layers

KCMP, KCMP_FILE = {"x86_64": 312, "aarch64": 272}, 0
WAITS = """
    import os, time
    kept = [open(os.__file__), open(os.__file__, "rb")]
    def run(payload, context):
        context.progress(0.5, "running")
        time.sleep(payload["seconds"])
        return {}
"""


class Waiting:
    """A call that runs until it is cancelled; entered once its plugin does."""

    def __init__(self, tool_runner: ToolRunner, name: str) -> None:
        self._runs = threading.Event()
        self._call = Call(on_progress=lambda _fraction, _message: self._runs.set())
        self._thread = threading.Thread(
            target=lambda: tool_runner.run(name, {"seconds": 120}, call=self._call)
        )

    def __enter__(self) -> None:
        self._thread.start()
        assert self._runs.wait(PATIENCE_SECONDS)

    def __exit__(self, *_: object) -> None:
        self._call.cancel()
        self._thread.join(PATIENCE_SECONDS)


def confined_processes() -> list[int]:
    """Return what may run plugins below this process: zygotes and cells."""
    filtered = []
    for process in psutil.Process().children(recursive=True):
        status = Path(f"/proc/{process.pid}/status").read_text()
        if "\nSeccomp:\t2" in status:
            filtered.append(process.pid)
    return filtered


def open_files(pid: int) -> list[int]:
    """Return the descriptors of a process."""
    return [int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()]


def have_in_common(one: int, other: int) -> list[tuple[int, int]]:
    """Return the pairs of descriptors of two processes that are one open file."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = []
    for mine, theirs in itertools.product(open_files(one), open_files(other)):
        answer = libc.syscall(KCMP[machine()], one, other, KCMP_FILE, mine, theirs)
        if answer < 0:
            raise OSError(ctypes.get_errno(), "kcmp")
        if answer == 0:
            found.append((mine, theirs))
    return found


@pytest.mark.parametrize("start", ["auto", "cold"])
def test_no_open_file_is_common_to_two_processes_that_run_plugins(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Neither to two calls of a plugin, nor to two plugins, nor to a call and its zygote."""
    plugins = [write_plugin(WAITS, name=name, start=f'"{start}"') for name in ("one", "other")]
    tool_runner = make_runner(*plugins, layers=layers)
    with (
        Waiting(tool_runner, "one"),
        Waiting(tool_runner, "one"),
        Waiting(tool_runner, "other"),
    ):
        confined = confined_processes()
        assert len(confined) >= 5
        for one, other in itertools.combinations(confined, 2):
            # A cell that is made for the call after next shares all until it has confined itself.
            deadline = time.monotonic() + PATIENCE_SECONDS
            while (common := have_in_common(one, other)) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert common == [], (one, other)


# It writes in all ways that have been a mailbox, or could be one, and tells what it finds.
LEAVES = r"""
    import ctypes, errno, fcntl, os, resource, signal, struct, time
    libc = ctypes.CDLL(None, use_errno=True)
    ALL = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    F_OFD_GETLK, F_OFD_SETLK, F_GETLEASE, F_GET_RW_HINT, F_SET_RW_HINT = 36, 37, 1025, 1035, 1036
    THEN = 1_000_000_007
    FILES = ["/dev/null", "/dev/full", os.__file__, "/usr/bin/env"]

    def attempt(function):
        try:
            return function()
        except OSError:
            return None

    def flags_of(fd):
        return fcntl.fcntl(fd, fcntl.F_GETFL)

    def writers():
        for fd in range(6):
            yield lambda: fcntl.fcntl(fd, fcntl.F_SETFL, flags_of(fd) | os.O_APPEND)
            yield lambda: fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
            yield lambda: fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGUSR1)
            yield lambda: fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1 << 18)
            yield lambda: fcntl.fcntl(fd, F_OFD_SETLK, ALL)
            yield lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in FILES:
            yield lambda: os.utime(name, (THEN, THEN))
            yield lambda: os.utime(name)
            yield lambda: os.chmod(name, 0o604)
            yield lambda: os.setxattr(name, "user.message", b"x")
            yield lambda: fcntl.flock(KEPT[name], fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield lambda: fcntl.fcntl(KEPT[name], fcntl.F_SETLK, ALL)
            yield lambda: fcntl.fcntl(KEPT[name], F_OFD_SETLK, ALL)
            yield lambda: fcntl.fcntl(KEPT[name], fcntl.F_SETLEASE, fcntl.F_RDLCK)
            yield lambda: fcntl.fcntl(KEPT[name], F_SET_RW_HINT, struct.pack("Q", 5))
        yield lambda: libc.prctl(15, b"message", 0, 0, 0)
        yield lambda: libc.prctl(29, 77777, 0, 0, 0)
        yield lambda: os.umask(0o123)
        yield lambda: signal.setitimer(signal.ITIMER_REAL, 3600)
        yield lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])
        yield lambda: os.kill(os.getpid(), signal.SIGUSR1)
        yield lambda: os.kill(os.getppid(), signal.SIGUSR1)
        yield lambda: os.nice(3)
        yield lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 1))
        for name in ("/proc/self/oom_score_adj", "/proc/self/coredump_filter", "/proc/self/comm",
                     "/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_default_ttl",
                     "/proc/sys/user/max_user_namespaces", "/proc/1/oom_score_adj", "/proc/1/comm",
                     "/dev/shm/message", "/tmp/message", "../message", "/scratch/message"):
            yield lambda: open(name, "w").write("7")
        yield lambda: libc.syscall(ADD_KEY, b"user", b"message", b"x", 1, -4)
        yield lambda: libc.shmget(1234, 4096, 0o1666)
        yield lambda: os.symlink("message", "../link")

    def found():
        seen = {}
        seen["flags"] = [flags_of(fd) & (os.O_APPEND | os.O_ASYNC) for fd in range(5)]
        seen["owners"] = [attempt(lambda: fcntl.fcntl(fd, fcntl.F_GETOWN)) for fd in range(5)]
        seen["signals"] = [attempt(lambda: fcntl.fcntl(fd, fcntl.F_GETSIG)) for fd in range(5)]
        seen["pipes"] = [attempt(lambda: fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)) for fd in range(5)]
        for name in FILES:
            state = os.stat(name)
            attributes = attempt(lambda: os.listxattr(name))
            seen[f"inode of {name}"] = [state.st_mode, state.st_mtime, attributes]
            fd = os.open(name, os.O_RDONLY)
            seen[f"lease of {name}"] = attempt(lambda: fcntl.fcntl(fd, F_GETLEASE))
            lock = attempt(lambda: fcntl.fcntl(fd, fcntl.F_GETLK, ALL))
            seen[f"lock of {name}"] = struct.unpack("hhqqi4x", lock)[0] if lock else None
            KEPT[name] = fd
        seen["name"] = attempt(lambda: open("/proc/self/comm").read())
        seen["slack"] = libc.prctl(30, 0, 0, 0, 0)
        seen["umask"] = os.umask(0o77)
        seen["timer"] = signal.getitimer(signal.ITIMER_REAL)
        seen["blocked"] = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        seen["pending"] = sorted(signal.sigpending())
        seen["nice"] = os.getpriority(os.PRIO_PROCESS, 0)
        seen["limits"] = [resource.getrlimit(n) for n in (resource.RLIMIT_CORE, resource.RLIMIT_AS)]
        for name in ("oom_score_adj", "coredump_filter"):
            seen[name] = attempt(lambda: open(f"/proc/self/{name}").read())
        for name in ("kernel/hostname", "net/ipv4/ip_default_ttl"):
            seen[name] = attempt(lambda: open(f"/proc/sys/{name}").read())
        seen["shm"] = libc.shmget(1234, 4096, 0o666)
        seen["files"] = [attempt(lambda: sorted(os.listdir(d))) for d in (".", "/dev/shm", "/tmp")]
        seen["beside"] = [os.path.lexists("../message"), os.path.lexists("../link")]
        seen["allowed"] = sorted(os.sched_getaffinity(0))
        return seen

    KEPT = {}
    ADD_KEY = 248 if os.uname().machine == "x86_64" else 217

    def run(payload, context):
        seen = found()
        if payload["leaves"]:
            for write in writers():
                attempt(write)
            context.progress(0.5, "left")
            time.sleep(payload["seconds"])
        return {"seen": seen}
"""


def looks(tool_runner: ToolRunner, name: str) -> Any:
    """Return what a call sees."""
    return value(tool_runner.run(name, {"leaves": False, "seconds": 0}))


@pytest.mark.parametrize("start", ["auto", "cold"])
def test_what_one_call_writes_no_other_reads(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Later or beside it, of the same plugin or another: all sees what it would see alone."""
    names = ("leaves", "other")
    plugins = [write_plugin(LEAVES, name=name, start=f'"{start}"') for name in names]
    tool_runner = make_runner(*plugins, layers=layers)
    alone = {name: looks(tool_runner, name) for name in names}
    runs = threading.Event()
    call = Call(on_progress=lambda _fraction, _message: runs.set())
    payload = {"leaves": True, "seconds": 120}
    thread = threading.Thread(target=lambda: tool_runner.run("leaves", payload, call=call))
    thread.start()
    try:
        assert runs.wait(PATIENCE_SECONDS)
        for name in names:
            assert looks(tool_runner, name) == alone[name]
    finally:
        call.cancel()
        thread.join(PATIENCE_SECONDS)
    for name in names:
        assert looks(tool_runner, name) == alone[name]


def test_databases_work_in_the_scratch(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """SQLite locks its files and waits for the disk; here neither has any effect."""
    body = """
    import sqlite3
    def run(payload):
        with sqlite3.connect("data.sqlite") as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE numbers (number)")
            database.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(1000)])
        other = sqlite3.connect("data.sqlite")
        (total,) = other.execute("SELECT sum(number) FROM numbers").fetchone()
        return {"total": total}
    """
    tool_runner = make_runner(write_plugin(body), layers=layers)
    assert value(tool_runner.run("sample", {})) == {"total": 499500}


def test_who_copies_files_does_not_notice_that_attributes_are_denied(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """``shutil`` copies modes and times, and knows file systems without attributes."""
    body = """
    import shutil
    def run(payload):
        shutil.copy2("/usr/bin/env", "env")
        return {"same": open("env", "rb").read() == open("/usr/bin/env", "rb").read()}
    """
    tool_runner = make_runner(write_plugin(body), layers=host_layers)
    assert value(tool_runner.run("sample", {})) == {"same": True}
