"""Every limit with what is just inside it and what is just beyond it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from toolrunner import Call, ToolRunner
from toolrunner.runner.envelope import Envelope, ErrorDetails
from toolrunner.runner.tool_runner import MaybeResult

Answer = tuple[MaybeResult, Envelope | None]
# What the plugins of this file share. Nothing of it goes on for long, even where nobody ends it.
COMMON = """
import errno, mmap, os, signal, threading, time

MIB = 1 << 20
HOLD = 0.25  # long enough to be seen by the watchdog
LONG = 20

def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def children(count, work):
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            work()
            os._exit(0)
        pids.append(pid)
    return pids

def wait(pids):
    for pid in pids:
        os.waitpid(pid, 0)

def touch(size):
    block = bytearray(size)
    for at in range(0, size, 4096):
        block[at] = 1
    return block

def shared(size):
    try:
        area = mmap.mmap(-1, size)
    except PermissionError:
        return touch(size)  # denied where no cgroup counts it
    for at in range(0, size, 4096):
        area[at] = 1
    return area

def write(name, size, piece=64 * 1024):
    with open(name, "wb", buffering=0) as file:
        for _ in range(size // piece):
            file.write(bytes(piece))
"""


@dataclass(frozen=True)
class Row:
    """A limit with what is inside it and what is beyond it, as bodies of ``run``.

    ``others``: further limits that the plugin needs or that must not come first. ``room``: the
    limit for what is inside, where a busy host takes its time of the value itself.
    """

    name: str
    limit: str
    value: float
    inside: str
    beyond: str
    error_type: str
    others: str = ""
    module: tuple[str, str] = ("", "")
    room: float = 0


HEAP = Row(
    "heap",
    "memory_mb",
    96,
    "block = touch(48 * MIB); time.sleep(HOLD)",
    "block = [touch(4 * MIB) for _ in range(60)]; time.sleep(LONG)",
    "MemoryLimitExceeded",
)
SHARED = Row(
    "shared mmap",
    "memory_mb",
    96,
    "area = shared(48 * MIB); time.sleep(HOLD)",
    "area = shared(200 * MIB); time.sleep(LONG)",
    "MemoryLimitExceeded",
)
SPLIT = Row(
    "memory of children",
    "memory_mb",
    96,
    "wait(children(3, lambda: (touch(12 * MIB), time.sleep(HOLD))))",
    "children(4, lambda: (touch(40 * MIB), time.sleep(LONG))); time.sleep(LONG)",
    "MemoryLimitExceeded",
)
CPU = Row(
    "processor",
    "cpu_seconds",
    0.8,
    "spin(0.3)",
    "spin(LONG)",
    "CpuLimitExceeded",
)
CPU_CHILDREN = Row(
    "processor of children",
    "cpu_seconds",
    0.8,
    "wait(children(3, lambda: spin(0.1)))",
    "wait(children(4, lambda: spin(5)))",
    "CpuLimitExceeded",
)
CPU_HIDDEN = Row(
    "processor of children nobody waits for",
    "cpu_seconds",
    0.8,
    "signal.signal(signal.SIGCHLD, signal.SIG_IGN); children(2, lambda: spin(0.1))",
    "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    "    while True:\n"
    "        children(1, lambda: spin(0.2)); time.sleep(0.2)",
    "CpuLimitExceeded",
)
PROCESSES = Row(
    "processes",
    "processes",
    6,
    "wait(children(5, lambda: time.sleep(HOLD)))",
    "children(6, lambda: time.sleep(LONG)); time.sleep(LONG)",
    "ProcessLimitExceeded",
)
THREADS = Row(
    "threads",
    "threads",
    6,
    "[threading.Thread(target=time.sleep, args=(HOLD,)).start() for _ in range(5)]\n"
    "    time.sleep(HOLD)",
    "[threading.Thread(target=time.sleep, args=(LONG,)).start() for _ in range(6)]\n"
    "    time.sleep(LONG)",
    "ProcessLimitExceeded",
)
THREADS_SPLIT = Row(
    "threads of children",
    "threads",
    6,
    "wait(children(3, lambda: time.sleep(HOLD)))",
    "children(3, lambda: ([threading.Thread(target=time.sleep, args=(LONG,)).start()"
    " for _ in range(2)], time.sleep(LONG))); time.sleep(LONG)",
    "ProcessLimitExceeded",
)
ONE_FILE = Row(
    "one file", "scratch_mb", 4, "write('f', 3 * MIB)", "write('f', 5 * MIB)", "DiskLimitExceeded"
)
MANY_FILES = Row(
    "many small files",
    "scratch_mb",
    1,
    "[write(str(n), 4096, 4096) for n in range(125)]; time.sleep(HOLD)",
    "[write(str(n), 4096, 4096) for n in range(300)]; time.sleep(LONG)",
    "DiskLimitExceeded",
)
EMPTY_FILES = Row(
    "many empty files",
    "scratch_mb",
    1,
    "[open(str(n), 'w').close() for n in range(125)]; time.sleep(HOLD)",
    "[open(str(n), 'w').close() for n in range(500)]; time.sleep(LONG)",
    "DiskLimitExceeded",
)
SPARSE_FILE = Row(
    "a sparse file",
    "scratch_mb",
    4,
    "open('f', 'wb').truncate(3 * MIB)",
    "open('f', 'wb').truncate(1 << 30)",
    "DiskLimitExceeded",
)
ROWS = (
    Row(
        "wall",
        "wall_seconds",
        1,
        "time.sleep(0.2)",
        "time.sleep(LONG)",
        "TimeLimitExceeded",
        room=20,
    ),
    Row(
        "load",
        "load_seconds",
        1,
        "",
        "",
        "PluginLoadError",
        module=("time.sleep(0.4)", "time.sleep(LONG)"),
        room=20,
    ),
    CPU,
    CPU_CHILDREN,
    CPU_HIDDEN,
    HEAP,
    SHARED,
    SPLIT,
    PROCESSES,
    THREADS,
    THREADS_SPLIT,
    Row(
        "open files",
        "open_files",
        64,
        "kept = [os.open('/dev/null', os.O_RDONLY) for _ in range(56)]",
        "kept = [os.open('/dev/null', os.O_RDONLY) for _ in range(64)]",
        "ExecutionError",
    ),
    ONE_FILE,
    MANY_FILES,
    EMPTY_FILES,
    SPARSE_FILE,
    Row(
        "a reply",
        "output_mb",
        1,
        "return {'x': 'x' * (MIB - 100)}",
        "return {'x': 'x' * MIB}",
        "OutputLimitExceeded",
    ),
    Row(
        "artifacts",
        "artifacts_mb",
        1,
        "context.artifact('a', bytes(MIB // 2)); context.artifact('b', bytes(MIB // 2))",
        "context.artifact('a', bytes(MIB // 2)); context.artifact('b', bytes(MIB // 2 + 1))",
        "OutputLimitExceeded",
    ),
)


def source(row: Row, *, beyond: bool) -> str:
    """Return a plugin that stays inside a row's limit, or goes beyond it."""
    body = row.beyond if beyond else row.inside
    return (
        f"{COMMON}\n{row.module[beyond]}\ndef run(payload, context):\n    {body}\n    return {{}}\n"
    )


def run(tool_runner: ToolRunner, payload: Any = None, call: Call | None = None) -> Answer:
    """Call once, and assert that the books balance."""
    result, envelope = tool_runner.run("sample", payload or {}, call=call)
    status = tool_runner.registry.get_status("sample")
    assert status is not None
    assert (status.success_count, status.error_count, status.in_flight) == (
        int(envelope is None),
        int(result is None),
        0,
    )
    return result, envelope


def held(answer: Answer, row: Row) -> ErrorDetails:
    """Assert that a limit ended a call, and that the details name it; return the details."""
    _result, envelope = answer
    assert envelope is not None
    error = envelope["error"]
    assert error["type"] == row.error_type, error
    details = error["details"]
    if row.limit == "open_files":  # met as an error of the plugin's own
        assert details["errno"] == 24
    else:
        assert details["limit"]["name"] == row.limit
        assert details["limit"]["configured"] == row.value
    return details
