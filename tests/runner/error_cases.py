"""Each type of error with ways to bring it about for real, and what its envelope has to tell."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call, PluginRegistry, ToolRunner
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.registry.plugin_state import PluginStatus
from toolrunner.runner.tool_runner import MaybeResult
from toolrunner.sandbox.layers import Layers

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
        assert running.wait(120)
        call.cancel()

    tool_runner = world.runner(WAITING)
    thread = threading.Thread(target=withdraw)
    thread.start()
    answer = tool_runner.run("sample", {}, call=call)
    thread.join(120)
    return tool_runner, answer


def without_a_place(world: World) -> tuple[ToolRunner, Answer]:
    """Call while the only place is taken and nobody may wait."""
    running = threading.Event()
    first = Call(on_progress=lambda _fraction, _message: running.set())
    tool_runner = world.runner(WAITING, max_concurrent=1, max_waiting=0)
    thread = threading.Thread(target=tool_runner.run, args=("sample", {}), kwargs={"call": first})
    thread.start()
    try:
        assert running.wait(120)
        answer = tool_runner.run("sample", {})
    finally:
        first.cancel()
        thread.join(120)
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
    Case(
        "InvalidInput derived",
        E.VALIDATION_ERROR,
        plugin("""
            class InvalidInput(Exception): pass
            class BadPage(InvalidInput, OSError): pass
            def run(p): raise BadPage(28, 'No space left')
        """),
        "No space left",
        {"exception": "BadPage", "errno": 28},
    ),
    Case("unknown", E.PLUGIN_NOT_FOUND, unknown, "did you mean 'sample'", ran=False),
    Case(
        "cancelled before",
        E.CANCELLED,
        cancelled_before,
        "cancelled",
        {"cancelled_by": "caller"},
        ran=False,
    ),
    Case(
        "cancelled", E.CANCELLED, cancelled_while_running, "cancelled", {"cancelled_by": "caller"}
    ),
    Case(
        "a missing layer",
        E.SANDBOX_ERROR,
        plugin(GOOD, require='["landlock:99"]'),
        "requires landlock:99",
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
        "RuntimeError: no model",
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
        "0.3 s of processor time",
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
            "import time\ndef run(p):\n    m = bytearray(b'x') * (100 << 20)\n    time.sleep(60)\n",
            limits="{ memory_mb = 96 }",
        ),
        "MiB of 96 MiB",
        {"limit": {"name": "memory_mb", "configured": 96, "observed": None}},
    ),
    Case(
        "MemoryError",
        E.MEMORY_LIMIT_EXCEEDED,
        plugin("def run(p): bytearray(1 << 40)", limits="{ memory_mb = 96 }"),
        "asked for more than memory_mb = 96 MiB allows",
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
