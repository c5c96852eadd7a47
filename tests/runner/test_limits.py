"""Every limit: what is just inside it passes, what is just beyond it is held, and by whom."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call, ToolRunner
from toolrunner.runner.envelope import Envelope, ErrorDetails
from toolrunner.runner.tool_runner import MaybeResult
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import LIMIT_NAMES, MIB, Limits

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
    area = mmap.mmap(-1, size)
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

    ``others``: further limits that the plugin needs or that must not come first.
    """

    name: str
    limit: str
    value: float
    inside: str
    beyond: str
    error_type: str
    others: str = ""
    module: tuple[str, str] = ("", "")


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
    ),
    Row(
        "load",
        "load_seconds",
        1,
        "",
        "",
        "PluginLoadError",
        module=("time.sleep(0.4)", "time.sleep(LONG)"),
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
)


def source(row: Row, *, beyond: bool) -> str:
    """Return a plugin that stays inside a row's limit, or goes beyond it."""
    body = row.beyond if beyond else row.inside
    return f"{COMMON}\n{row.module[beyond]}\ndef run(payload):\n    {body}\n    return {{}}\n"


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
    elif row.name != "threads" or "exception" not in details:
        assert details["limit"]["name"] in {row.limit, "processes"}
        assert details["limit"]["configured"] == row.value
    return details


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_is_inside_a_limit_passes(
    row: Row, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """A limit does not bite before its value."""
    plugin = write_plugin(
        source(row, beyond=False), limits=f"{{ {row.limit} = {row.value}{row.others} }}"
    )
    _result, envelope = run(make_runner(plugin, layers=layers))
    assert envelope is None


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("whose", ["manifest", "operator"])
def test_what_is_beyond_a_limit_is_held(
    row: Row, whose: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Whether the manifest asked for no more, or the operator's cap allows no more."""
    caps = {row.limit: row.value} if whose == "operator" else {}
    value = row.value if whose == "manifest" else getattr(Limits(), row.limit)
    plugin = write_plugin(
        source(row, beyond=True), limits=f"{{ {row.limit} = {value}{row.others} }}"
    )
    held(run(make_runner(plugin, layers=layers, caps=caps)), row)


def test_every_limit_is_tried() -> None:
    """A new limit needs a row, or one of the exact tests below."""
    exact = {"payload_mb", "log_kb"}
    assert {row.limit for row in ROWS} | exact == set(LIMIT_NAMES)


# --- who holds what: the watchdog alone, and the kernel alone ---------------------------------

WATCHED = (
    HEAP,
    SHARED,
    SPLIT,
    CPU,
    CPU_CHILDREN,
    CPU_HIDDEN,
    PROCESSES,
    THREADS,
    THREADS_SPLIT,
    ONE_FILE,
    MANY_FILES,
)


@pytest.mark.parametrize("row", WATCHED, ids=lambda row: row.name)
def test_the_watchdog_holds_without_the_kernels_limits(
    row: Row, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """What it measures it ends, whatever the process could have been refused."""
    if row is ONE_FILE:
        row = Row(**{**vars(row), "beyond": f"{row.beyond}; time.sleep(LONG)"})
    plugin = write_plugin(source(row, beyond=True), limits=f"{{ {row.limit} = {row.value} }}")
    held(run(make_runner(plugin, layers=layers.without("rlimits"))), row)


KERNEL = (
    HEAP,
    Row(**{**vars(CPU), "value": 0.2}),
    Row(
        "forks without end",
        "processes",
        4,
        "pass",
        "children(900, lambda: time.sleep(LONG)); time.sleep(LONG)",
        "ProcessLimitExceeded",
    ),
    ONE_FILE,
    SPARSE_FILE,
)


@pytest.mark.parametrize("row", KERNEL, ids=lambda row: row.name)
def test_the_kernel_holds_without_the_watchdog(
    row: Row, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The second line: later and with fewer words, but of the same type."""
    others = ", load_seconds = 0.5, threads = 4, wall_seconds = 15"
    plugin = write_plugin(
        source(row, beyond=True), limits=f"{{ {row.limit} = {row.value}{others} }}"
    )
    held(run(make_runner(plugin, layers=layers.without("watchdog"))), row)


@pytest.mark.parametrize("row", [MANY_FILES, EMPTY_FILES], ids=lambda row: row.name)
def test_the_scratch_itself_is_bounded(
    row: Row, write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """With a mount namespace the scratch is a file system of the limit's size."""
    if "mount" not in host_layers.namespaces:
        pytest.skip("this kernel gives this user no namespaces (CLONE_NEWUSER is refused)")
    plugin = write_plugin(source(row, beyond=True), limits=f"{{ {row.limit} = {row.value} }}")
    held(run(make_runner(plugin, layers=host_layers.without("watchdog"))), row)


# --- what is counted how ------------------------------------------------------------------------


def test_pages_that_forks_share_count_once(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Six children of a process of 60 MiB use 60 MiB, not 420."""
    call = Call()
    plugin = write_plugin(
        f"{COMMON}\n"
        "def run(payload):\n"
        "    block = touch(60 * MIB)\n"
        "    wait(children(6, lambda: time.sleep(2 * HOLD)))\n"
        "    return {}\n",
        limits="{ memory_mb = 128 }",
    )
    _result, envelope = run(make_runner(plugin, layers=layers), call=call)
    assert envelope is None
    assert call.usage.processes == 7
    assert 60 * MIB < call.usage.peak_memory_bytes <= 128 * MIB


def test_shared_memory_files_are_scratch(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """What lies in /dev/shm counts against the scratch, and is nobody else's."""
    if "mount" not in host_layers.namespaces:
        pytest.skip("this kernel gives this user no namespaces (CLONE_NEWUSER is refused)")
    row = Row(
        "shm",
        "scratch_mb",
        4,
        "write('/dev/shm/f', 3 * MIB)",
        "write('/dev/shm/f', 2 * MIB); write('g', 3 * MIB)",
        "DiskLimitExceeded",
    )
    inside = write_plugin(source(row, beyond=False), limits="{ scratch_mb = 4 }")
    assert run(make_runner(inside, layers=host_layers))[1] is None
    beyond = write_plugin(source(row, beyond=True), limits="{ scratch_mb = 4 }")
    held(run(make_runner(beyond, layers=host_layers)), row)


def test_scratch_in_memory_counts_as_memory(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """A tmpfs is memory: files and heap share one limit."""
    if "mount" not in host_layers.namespaces:
        pytest.skip("this kernel gives this user no namespaces (CLONE_NEWUSER is refused)")
    row = Row(
        "both",
        "memory_mb",
        96,
        "",
        "write('f', 60 * MIB); block = touch(60 * MIB); time.sleep(LONG)",
        "MemoryLimitExceeded",
    )
    plugin = write_plugin(source(row, beyond=True), limits="{ memory_mb = 96, scratch_mb = 64 }")
    held(run(make_runner(plugin, layers=host_layers)), row)


def test_the_load_is_on_a_clock_of_its_own(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Wall and processor time begin with the request."""
    plugin = write_plugin(
        f"{COMMON}\nspin(0.5); time.sleep(0.5)\ndef run(payload): return {{}}\n",
        limits="{ wall_seconds = 0.6, cpu_seconds = 0.4 }",
    )
    assert run(make_runner(plugin, layers=layers))[1] is None


@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)], ids=["at it", "a byte over"])
@pytest.mark.parametrize("kind", ["json", "image"])
def test_a_payload_may_be_as_large_as_its_limit(
    extra: int, fits: bool, kind: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Counted as what travels: compact JSON, and the raw bytes of an image."""
    keys = {"accepts": '["image/png"]'} if kind == "image" else {}
    plugin = write_plugin(
        "def run(payload): return {'size': len(payload.get('image') or payload['x'])}",
        input=kind,
        limits="{ payload_mb = 1 }",
        **keys,
    )
    payload: dict[str, Any]
    if kind == "image":
        payload = {"mime_type": "image/png"}
        size = MIB - len(json.dumps(payload, separators=(",", ":"))) + extra
        payload["image"] = bytes(size)
    else:
        size = MIB - len('{"x":""}') + extra
        payload = {"x": "x" * size}
    result, envelope = run(make_runner(plugin), payload)
    if fits:
        assert result == {"size": size}
    else:
        assert envelope is not None
        assert envelope["error"]["type"] == "ValidationError"
        assert envelope["error"]["details"]["limit"]["name"] == "payload_mb"
        assert str(MIB + 1) in envelope["error"]["message"]


def test_a_payload_cap_lowers_the_manifests(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """The operator's word on what may be sent."""
    plugin = write_plugin("def run(payload): return {}", limits="{ payload_mb = 50 }")
    _result, envelope = run(make_runner(plugin, caps={"payload_mb": 1}), {"x": "x" * MIB})
    assert envelope is not None
    assert envelope["error"]["details"]["limit"]["configured"] == 1


@pytest.mark.parametrize("extra", [0, 1], ids=["at it", "a byte over"])
def test_a_reply_may_be_as_large_as_its_limit(
    extra: int, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The last byte decides, and an announced size is enough to refuse."""
    call = Call()
    size = MIB - len('{"x": ""}') + extra
    plugin = write_plugin(
        f"def run(payload): return {{'x': 'x' * {size}}}", limits="{ output_mb = 1 }"
    )
    result, envelope = run(make_runner(plugin, layers=layers), call=call)
    assert call.usage.output_bytes == MIB + extra
    if extra:
        assert envelope is not None
        assert envelope["error"]["type"] == "OutputLimitExceeded"
    else:
        assert result == {"x": "x" * size}


@pytest.mark.parametrize(("size", "dropped"), [(2048, 0), (2049, 1), (5 * MIB, 5 * MIB - 2048)])
@pytest.mark.parametrize("stream", [1, 2], ids=["stdout", "stderr"])
def test_output_beyond_its_limit_is_dropped_and_counted(
    size: int,
    dropped: int,
    stream: int,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    layers: Layers,
) -> None:
    """The end is kept, since it says what happened last; the call does not suffer."""
    call = Call()
    plugin = write_plugin(
        f"import os\n"
        f"def run(payload):\n"
        f"    left = {size} - 4\n"
        f"    while left:\n"
        f"        left -= os.write({stream}, b'x' * min(left, 65536))\n"
        f"    os.write({stream}, b'last')\n"
        f"    return {{}}\n",
        limits="{ log_kb = 2 }",
    )
    assert run(make_runner(plugin, layers=layers), call=call) == ({}, None)
    assert call.log_tail == "x" * 2044 + "last"
    assert call.usage.log_bytes_dropped == dropped


def test_the_operator_caps_what_is_kept_of_output(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """A manifest may not fill the runner's memory."""
    call = Call()
    plugin = write_plugin(
        "def run(payload): print('x' * 9999); return {}", limits="{ log_kb = 9000 }"
    )
    assert run(make_runner(plugin, caps={"log_kb": 1}), call=call) == ({}, None)
    assert len(call.log_tail) == 1024
    assert call.usage.log_bytes_dropped == 10_000 - 1024


def test_log_records_have_the_same_limit(
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    layers: Layers,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A flood of records is cut off and counted, and fails nothing."""
    call = Call()
    plugin = write_plugin(
        "import logging\n"
        "def run(payload):\n"
        "    for number in range(2000):\n"
        "        logging.getLogger('deep').warning('record %d', number)\n"
        "    return {}\n",
        limits="{ log_kb = 4 }",
    )
    with caplog.at_level(logging.WARNING, "toolrunner.plugin.sample"):
        assert run(make_runner(plugin, layers=layers), call=call) == ({}, None)
    records = [r for r in caplog.records if r.name == "toolrunner.plugin.sample"]
    assert 10 < len(records) < 200
    assert "record 0" in records[0].getMessage()
    assert call.usage.log_bytes_dropped > 50_000
