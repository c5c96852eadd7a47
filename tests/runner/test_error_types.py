"""Every type of error, brought about for real: whom it blames, and what its envelope tells."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call, PluginRegistry, ToolRunner
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.errors import RETRYABLE, ErrorType
from toolrunner.runner.registry.plugin_state import PluginStatus
from toolrunner.runner.tool_runner import MaybeResult
from toolrunner.sandbox.ending import Usage
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.sandbox import Sandbox
from toolrunner.sandbox.watchdog import tree_below

E = ErrorType
Answer = tuple[MaybeResult, Envelope | None]
WAITING = """
    import time

    def run(payload, context):
        context.progress(0.5, "running")
        time.sleep(60)
"""
GOOD = "def run(payload): return {}"


@dataclass(frozen=True)
class World:
    """What a case may use to bring its error about."""

    write_plugin: WritePlugin
    make_runner: MakeRunner
    layers: Layers

    def runner(self, body: str, keys: dict[str, str] | None = None, **settings: Any) -> ToolRunner:
        """Return a runner of one plugin."""
        plugin = self.write_plugin(body, **(keys or {}))
        return self.make_runner(plugin, **{"layers": self.layers, **settings})


@dataclass(frozen=True)
class Case:
    """One way to one error: what the message says, and what else ``details`` holds.

    A key of ``details`` with ``None`` has only to be there. ``ran``: the plugin was started, so
    that there is something to report of its usage.
    """

    name: str
    error_type: ErrorType
    produce: Callable[[World], tuple[ToolRunner, Answer]]
    words: str
    details: dict[str, Any] = field(default_factory=dict)
    ran: bool = True


def plugin(body: str, payload: Any = None, **keys: str) -> Callable[[World], Any]:
    """Return what calls a plugin of this source once."""

    def produce(world: World) -> tuple[ToolRunner, Answer]:
        tool_runner = world.runner(body, keys)
        return tool_runner, tool_runner.run("sample", {} if payload is None else payload)

    return produce


def cancelled_before(world: World) -> tuple[ToolRunner, Answer]:
    """Withdraw a call that has not begun."""
    call = Call()
    call.cancel()
    tool_runner = world.runner(WAITING)
    return tool_runner, tool_runner.run("sample", {}, call=call)


def cancelled_while_running(world: World) -> tuple[ToolRunner, Answer]:
    """Withdraw a call from another thread, once it is known to run."""
    running = threading.Event()
    call = Call(on_progress=lambda _fraction, _message: running.set())

    def withdraw() -> None:
        assert running.wait(30)
        call.cancel()

    tool_runner = world.runner(WAITING)
    thread = threading.Thread(target=withdraw)
    thread.start()
    answer = tool_runner.run("sample", {}, call=call)
    thread.join(30)
    return tool_runner, answer


def without_a_place(world: World) -> tuple[ToolRunner, Answer]:
    """Call while the only place is taken and nobody may wait."""
    running = threading.Event()
    first = Call(on_progress=lambda _fraction, _message: running.set())
    tool_runner = world.runner(WAITING, max_concurrent=1, max_waiting=0)
    thread = threading.Thread(target=tool_runner.run, args=("sample", {}), kwargs={"call": first})
    thread.start()
    try:
        assert running.wait(30)
        answer = tool_runner.run("sample", {})
    finally:
        first.cancel()
        thread.join(30)
    return tool_runner, answer


def below_the_floor(world: World) -> tuple[ToolRunner, Answer]:
    """Call on a host that cannot filter system calls."""
    tool_runner = world.runner(GOOD, layers=world.layers.without("seccomp"))
    return tool_runner, tool_runner.run("sample", {})


class FaultyRegistry(PluginRegistry):
    """A registry with a bug."""

    def own_status(self, name: str) -> PluginStatus | None:
        """Fail as no registry should, but only once."""
        if name == "sample" and not getattr(self, "failed", False):
            self.failed = True
            message = "the registry is broken"
            raise ArithmeticError(message)
        return super().own_status(name)


def with_a_bug(world: World) -> tuple[ToolRunner, Answer]:
    """Call by way of a registry that raises."""
    registry = FaultyRegistry.discover([world.write_plugin(GOOD)])
    made = world.make_runner(layers=world.layers)
    tool_runner = ToolRunner(registry, sandbox=made._sandbox)
    return tool_runner, tool_runner.run("sample", {})


def missing_dependency(world: World) -> tuple[ToolRunner, Answer]:
    """Call a plugin that needs what is not installed."""
    path: Path = world.write_plugin(GOOD)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("dependencies = []", 'dependencies = ["no-such-distribution"]'))
    tool_runner = world.make_runner(path, layers=world.layers)
    return tool_runner, tool_runner.run("sample", {})


def unknown(world: World) -> tuple[ToolRunner, Answer]:
    """Call what is not there."""
    tool_runner = world.runner(GOOD)
    return tool_runner, tool_runner.run("sampel", {})


CASES = (
    Case(
        "payload",
        E.VALIDATION_ERROR,
        plugin(GOOD, {"x": float("nan")}),
        'payload["x"]',
        ran=False,
    ),
    Case(
        "payload too large",
        E.VALIDATION_ERROR,
        plugin(GOOD, {"x": "x" * 2**20}, limits="{ payload_mb = 1 }"),
        "takes 1 MiB",
        {"limit": {"name": "payload_mb", "configured": 1, "observed": 1.0}},
        ran=False,
    ),
    Case(
        "InvalidInput",
        E.VALIDATION_ERROR,
        plugin("class InvalidInput(Exception): pass\ndef run(p): raise InvalidInput('too small')"),
        "too small",
        {"exception": "InvalidInput"},
    ),
    Case("unknown", E.PLUGIN_NOT_FOUND, unknown, "did you mean 'sample'", ran=False),
    Case("cancelled before", E.CANCELLED, cancelled_before, "cancelled", ran=False),
    Case("cancelled", E.CANCELLED, cancelled_while_running, "cancelled"),
    Case(
        "a missing layer",
        E.SANDBOX_ERROR,
        plugin(GOOD, require='["cgroup"]'),
        "requires cgroup",
        {"operation": None, "errno": None, "remedy": None},
        ran=False,
    ),
    Case(
        "below the floor",
        E.SANDBOX_ERROR,
        below_the_floor,
        "seccomp",
        {"operation": None, "errno": None, "remedy": None},
        ran=False,
    ),
    Case(
        "no place",
        E.OVERLOADED,
        without_a_place,
        "max_concurrent",
        {"retry_after_seconds": 1},
        ran=False,
    ),
    Case("bug", E.INTERNAL_ERROR, with_a_bug, "ArithmeticError", ran=False),
    Case(
        "missing dependency",
        E.PLUGIN_UNAVAILABLE,
        missing_dependency,
        "no-such-distribution",
        ran=False,
    ),
    Case(
        "network not allowed",
        E.PLUGIN_UNAVAILABLE,
        plugin(GOOD, network="true"),
        "allow_network",
        ran=False,
    ),
    Case(
        "raises at import",
        E.PLUGIN_LOAD_ERROR,
        plugin("raise RuntimeError('no model')"),
        "RuntimeError: no model while loading",
        {"exception": "RuntimeError"},
    ),
    Case(
        "raises when constructed",
        E.PLUGIN_LOAD_ERROR,
        plugin("class Plugin:\n    def __init__(self): 1 / 0\n    def run(self, p): return {}"),
        "ZeroDivisionError",
        {"exception": "ZeroDivisionError"},
    ),
    Case(
        "hangs at import",
        E.PLUGIN_LOAD_ERROR,
        plugin("import time; time.sleep(60)", limits="{ load_seconds = 1 }"),
        "took longer than 1 s to load",
        {"limit": {"name": "load_seconds", "configured": 1, "observed": None}},
    ),
    Case(
        "dies at import",
        E.PLUGIN_LOAD_ERROR,
        plugin("import os; os.abort()"),
        "SIGABRT while loading",
        {"signal": "SIGABRT"},
    ),
    Case(
        "ends at import",
        E.PLUGIN_LOAD_ERROR,
        plugin("import os; os._exit(5)"),
        "exit status 5",
        {"exit_code": 5},
    ),
    Case(
        "sleeps",
        E.TIME_LIMIT_EXCEEDED,
        plugin(WAITING, limits="{ wall_seconds = 1 }"),
        "ran longer than 1 s",
        {"limit": {"name": "wall_seconds", "configured": 1, "observed": None}},
    ),
    Case(
        "spins",
        E.CPU_LIMIT_EXCEEDED,
        plugin("def run(p):\n    while True: pass", limits="{ cpu_seconds = 0.3 }"),
        "of 0.3 s of processor time",
        {"limit": {"name": "cpu_seconds", "configured": 0.3, "observed": None}},
    ),
    Case(
        "SIGXCPU",
        E.CPU_LIMIT_EXCEEDED,
        plugin("import os, signal\ndef run(p): os.kill(os.getpid(), signal.SIGXCPU)"),
        "SIGXCPU",
        {"signal": "SIGXCPU", "limit": {"name": "cpu_seconds", "configured": 30, "observed": None}},
    ),
    Case(
        "hoards",
        E.MEMORY_LIMIT_EXCEEDED,
        plugin(
            "import mmap, time\n"
            "def run(p):\n"
            "    m = mmap.mmap(-1, 200 << 20)\n"
            "    for _ in range(200): m.write(bytes(1 << 20))\n"
            "    time.sleep(60)\n",
            limits="{ memory_mb = 96 }",
        ),
        "MiB of 96 MiB",
        {"limit": {"name": "memory_mb", "configured": 96, "observed": None}},
    ),
    Case(
        "MemoryError",
        E.MEMORY_LIMIT_EXCEEDED,
        plugin("def run(p): bytearray(1 << 40)", limits="{ memory_mb = 96 }"),
        "MemoryError",
        {
            "exception": "MemoryError",
            "limit": {"name": "memory_mb", "configured": 96, "observed": None},
        },
    ),
    Case(
        "forks",
        E.PROCESS_LIMIT_EXCEEDED,
        plugin(
            "import os, time\n"
            "def run(p):\n"
            "    for _ in range(30):\n"
            "        if os.fork() == 0: break\n"
            "    time.sleep(60)\n",
            limits="{ processes = 4 }",
        ),
        "of 4 processes",
        {"limit": {"name": "processes", "configured": 4, "observed": None}},
    ),
    Case(
        "EAGAIN",
        E.PROCESS_LIMIT_EXCEEDED,
        plugin("import errno, os\ndef run(p): raise OSError(errno.EAGAIN, os.strerror(11))"),
        "BlockingIOError",
        {"exception": "BlockingIOError", "errno": 11, "limit": None},
    ),
    Case(
        "writes",
        E.DISK_LIMIT_EXCEEDED,
        plugin(
            "def run(p):\n    open('file', 'wb').write(bytes(3 << 20))",
            limits="{ scratch_mb = 2 }",
        ),
        "",
        {"limit": {"name": "scratch_mb", "configured": 2, "observed": None}},
    ),
    Case(
        "replies at length",
        E.OUTPUT_LIMIT_EXCEEDED,
        plugin("def run(p): return {'x': 'x' * 2 ** 21}", limits="{ output_mb = 1 }"),
        "MiB of 1 MiB",
        {"limit": {"name": "output_mb", "configured": 1, "observed": None}},
    ),
    Case(
        "segfault",
        E.PLUGIN_CRASHED,
        plugin("import ctypes\ndef run(p): ctypes.string_at(0)"),
        "died by SIGSEGV",
        {"signal": "SIGSEGV"},
    ),
    Case(
        "ends without a reply",
        E.PLUGIN_CRASHED,
        plugin("import os\ndef run(p): os._exit(0)"),
        "exit status 0 without a reply",
        {"exit_code": 0},
    ),
    Case(
        "garbage",
        E.PROTOCOL_ERROR,
        plugin("import os\ndef run(p): os.write(3, b'hello, world')"),
        "unknown kind",
    ),
    Case(
        "raises",
        E.EXECUTION_ERROR,
        plugin("def run(p): {}['missing']"),
        "KeyError: 'missing'",
        {"exception": "KeyError"},
    ),
    Case(
        "SystemExit",
        E.EXECUTION_ERROR,
        plugin("import sys\ndef run(p): sys.exit(3)"),
        "SystemExit: 3",
        {"exception": "SystemExit"},
    ),
    Case(
        "KeyboardInterrupt",
        E.EXECUTION_ERROR,
        plugin("def run(p): raise KeyboardInterrupt"),
        "KeyboardInterrupt",
        {"exception": "KeyboardInterrupt"},
    ),
    Case(
        "returns nothing",
        E.OUTPUT_VALIDATION_ERROR,
        plugin("def run(p): pass"),
        "None",
    ),
)
ALWAYS = {"blame", "retryable", "call_id", "usage", "isolation"}


def holds(found: Any, expected: Any) -> bool:
    """Tell whether a value has what is expected of it; ``None`` expects anything."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            holds(found[key], value) for key, value in expected.items()
        )
    return expected is None or found == expected


def test_the_table_has_every_type() -> None:
    """A type that nobody can produce is not tested, or should not exist."""
    assert {case.error_type for case in CASES} == set(ErrorType)
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_error_is_what_it_should_be(
    case: Case, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Type, blame, message and details; and the record says the same."""
    tool_runner, (result, envelope) = case.produce(World(write_plugin, make_runner, layers))
    assert result is None
    assert envelope is not None
    error = envelope["error"]
    assert error["type"] == case.error_type, error
    assert case.words in error["message"]
    details = error["details"]
    assert details["blame"] == case.error_type.blame
    assert details["retryable"] == (case.error_type in RETRYABLE)
    assert len(details["call_id"]) == 32
    assert details["usage"].keys() == set(Usage.__dataclass_fields__)
    assert any(details["usage"].values()) == case.ran
    assert details["isolation"].keys() == {"mode", "layers", "missing"}
    if case.ran:
        assert details["isolation"]["layers"] == list(layers.names())
    rest = {key: value for key, value in details.items() if key not in {*ALWAYS, "log_tail"}}
    if case.error_type is E.DISK_LIMIT_EXCEEDED:  # seen by the plugin first, or by the watchdog
        rest = {"limit": rest["limit"]}
    if case.error_type is not E.PROTOCOL_ERROR:  # how it ended then is a matter of chance
        assert holds(rest, case.details), rest
    status = tool_runner.registry.get_status("sample")
    assert status is not None
    assert status.in_flight == 0
    if case.error_type is E.PLUGIN_NOT_FOUND:
        assert (status.success_count, status.error_count) == (0, 0)
        return
    assert status.success_count == 0
    assert status.error_count == (2 if case.error_type is E.OVERLOADED else 1)
    if case.error_type is E.PLUGIN_UNAVAILABLE and case.name == "missing dependency":
        assert status.state == "UNAVAILABLE"
    elif case.error_type.blame == "plugin":
        assert status.state == "FAILED"
    else:
        assert status.state == "LOADED"


def test_a_missing_namespace_is_a_missing_layer(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """What a plugin requires is looked for in what confines this very call."""
    tool_runner = make_runner(
        write_plugin(GOOD, require='["namespaces.pid", "seccomp"]'),
        layers=host_layers.without("namespaces"),
    )
    _result, envelope = tool_runner.run("sample", {})
    assert envelope is not None
    assert envelope["error"]["type"] == "SandboxError"
    assert "requires namespaces.pid," in envelope["error"]["message"]
    assert "namespaces.pid" in envelope["error"]["details"]["isolation"]["missing"]


def test_less_than_the_floor_runs_on_the_operators_word(
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    host_layers: Layers,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """``degraded`` is loud in the log and visible in the isolation."""
    call = Call()
    below = host_layers.without("seccomp")
    tool_runner = make_runner(write_plugin(GOOD), layers=below, degraded=True)
    with caplog.at_level(logging.WARNING, "toolrunner.sandbox"):
        assert tool_runner.run("sample", {}, call=call) == ({}, None)
    assert "degraded" in caplog.text
    assert "seccomp" in call.isolation.missing


@pytest.mark.parametrize("way", ["in the listener", "while it waits"])
def test_a_keyboard_interrupt_passes(
    way: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """It reaches the caller, the call is killed with all its processes, and it is recorded."""
    tool_runner = make_runner(write_plugin(WAITING), layers=layers)
    box: list[psutil.Process] = []
    running = threading.Event()

    def heard(_fraction: float, _message: str) -> None:
        for child in psutil.Process().children():
            box.extend(psutil.Process(pid) for pid in tree_below(child.pid))
        if way == "in the listener":
            signal.raise_signal(signal.SIGINT)
        running.set()

    def interrupt() -> None:
        assert running.wait(30)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    if way == "while it waits":
        thread.start()
    with pytest.raises(KeyboardInterrupt):
        tool_runner.run("sample", {}, call=Call(on_progress=heard))
    if way == "while it waits":
        thread.join(30)
    assert box
    _gone, alive = psutil.wait_procs(box, timeout=30)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
    status = tool_runner.registry.get_status("sample")
    assert status is not None
    assert (status.success_count, status.error_count, status.in_flight) == (0, 1, 0)
    assert status.state == "LOADED"


def test_after_a_keyboard_interrupt_the_runner_works(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The next call of the same runner is a call like any other."""
    plugin_file = write_plugin(
        "def run(payload, context):\n    context.progress(1)\n    return {'fine': True}\n"
    )
    tool_runner = make_runner(plugin_file, layers=layers)
    with pytest.raises(KeyboardInterrupt):
        tool_runner.run(
            "sample", {}, call=Call(on_progress=lambda *_: signal.raise_signal(signal.SIGINT))
        )
    assert tool_runner.run("sample", {}) == ({"fine": True}, None)


def test_a_plugin_file_that_is_gone_is_unavailable(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """What was there at discovery may not be there at the call."""
    path: Path = write_plugin(GOOD)
    tool_runner = make_runner(path)
    path.unlink()
    _result, envelope = tool_runner.run("sample", {})
    assert envelope is not None
    assert envelope["error"]["type"] == "PluginUnavailable"
    assert "sample.py" in envelope["error"]["message"]


def test_an_interpreter_that_is_not_there_is_the_hosts_fault(write_plugin: WritePlugin) -> None:
    """A box that cannot be started is no fault of the plugin."""
    registry = PluginRegistry.discover([write_plugin(GOOD)])
    sandbox = Sandbox(python="/nonexistent/python")
    with ToolRunner(registry, sandbox=sandbox) as tool_runner:
        _result, envelope = tool_runner.run("sample", {})
    assert envelope is not None
    assert envelope["error"]["type"] == "SandboxError"
    assert envelope["error"]["details"]["retryable"] is True
    assert registry.get_state("sample") == "LOADED"
