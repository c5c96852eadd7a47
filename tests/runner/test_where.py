"""A call whose time is over says where it was, to those who may see its traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.commands import a_script
from tests.conftest import MakeRunner, WritePlugin
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.errors import ErrorType
from toolrunner.sandbox.exchange.stack import taken_out
from toolrunner.sandbox.layers import Layers

STARTS = ("cold", "warm", "resident")
WALL = "{ wall_seconds = 0.5, cpu_seconds = 20 }"
CPU = "{ wall_seconds = 20, cpu_seconds = 0.5 }"
# Each line of the stack ends with the name of its function.
LOOP = "def inner():\n    while True: pass  # inner\ndef run(payload):\n    inner()  # run\n"
SLEEP = "import time\ndef run(payload):\n    time.sleep(100)  # run\n"
COROUTINE = "import asyncio\nasync def run(payload):\n    while True: pass  # run\n"
CHILDREN = """\
import os
def run(payload):
    if not os.fork():
        while True: pass
    os.wait()  # run
"""
TRIES = 10
PRINTS = "def run(payload):\n    print('begun', flush=True)\n"


def failed(make_runner: MakeRunner, path: Path, *, tries: int = 1, **options: Any) -> Envelope:
    """Run a plugin, which fails: again, up to ``tries`` times, while nothing tells where it was.

    What is to tell has a moment for it, in which a busy host may not have let it run.
    """
    tool_runner = make_runner(path, allow_resident=["*"], **options)
    while True:
        _, error = tool_runner.run("sample", {})
        assert error is not None
        tries -= 1
        if error["_internal"]["traceback"] or not tries:
            return error


def stack(path: Path, *names: str) -> str:
    """Return what is told of a plugin that was in the functions of these names."""
    lines = path.read_text().splitlines()
    numbers = [
        next(n for n, line in enumerate(lines, 1) if line.endswith(f"# {name}")) for name in names
    ]
    frames = [
        f'  File "{path}", line {n}, in {name}\n' for n, name in zip(numbers, names, strict=True)
    ]
    return "".join(["Where it was (most recent call last):\n", *frames])


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    ("body", "limits", "error_type", "names"),
    [
        (LOOP, WALL, ErrorType.TIME_LIMIT_EXCEEDED, ["run", "inner"]),
        (LOOP, CPU, ErrorType.CPU_LIMIT_EXCEEDED, ["run", "inner"]),
        (SLEEP, WALL, ErrorType.TIME_LIMIT_EXCEEDED, ["run"]),
        (COROUTINE, WALL, ErrorType.TIME_LIMIT_EXCEEDED, ["run"]),
        (CHILDREN, CPU, ErrorType.CPU_LIMIT_EXCEEDED, ["run"]),
    ],
    ids=["loop", "cpu", "sleep", "coroutine", "children"],
)
def test_the_stack_stands_in_the_traceback(
    start: str,
    body: str,
    limits: str,
    error_type: ErrorType,
    names: list[str],
    layers: Layers,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
) -> None:
    """From the plugin's first frame on; the log has what was printed and nothing else."""
    body = body.replace("def run(payload):\n", PRINTS)
    path = write_plugin(body, start=f'"{start}"', limits=limits)
    error = failed(make_runner, path, tries=TRIES, layers=layers)
    assert error["error"]["type"] == error_type
    assert error["_internal"]["traceback"] == stack(path, *names)
    assert error["error"]["details"]["log_tail"] == "begun\n"


@pytest.mark.parametrize("start", STARTS)
def test_an_import_that_hangs(
    start: str, layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """The same for loading."""
    body = "import time\ntime.sleep(100)  # <module>\ndef run(payload):\n    return {}\n"
    path = write_plugin(body, start=f'"{start}"', limits="{ load_seconds = 0.5 }")
    error = failed(make_runner, path, tries=TRIES, layers=layers)
    assert error["error"]["type"] == ErrorType.PLUGIN_LOAD_ERROR
    assert error["_internal"]["traceback"] == stack(path, "<module>")


CRASHES = {
    "SIGSEGV": "ctypes.string_at(0)",
    "SIGABRT": "os.abort()",
    "SIGILL": "os.kill(os.getpid(), signal.SIGILL)",
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", CRASHES)
def test_a_crash_in_native_code(
    name: str, start: str, layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """It says at which line of the plugin it was, and dies by its signal all the same."""
    body = f"""
    import ctypes, os, signal
    def inner():
        {CRASHES[name]}  # inner
    def run(payload):
        print("begun", flush=True)
        inner()  # run
    """
    path = write_plugin(body, start=f'"{start}"')
    error = failed(make_runner, path, layers=layers)
    assert error["error"]["type"] == ErrorType.PLUGIN_CRASHED
    assert error["error"]["details"]["signal"] == name
    where = error["_internal"]["traceback"]
    assert [line for line in stack(path, "run", "inner").splitlines() if line not in where] == []
    assert error["error"]["details"]["log_tail"] == "begun\n"


def test_a_program_has_none(layers: Layers, open_folder: Path, make_runner: MakeRunner) -> None:
    """What waits for it is ours, and of no use to its author."""
    path = a_script(open_folder, "echo begun >&2; sleep 100", limits="{ wall_seconds = 0.5 }")
    error = failed(make_runner, path, layers=layers)
    assert error["error"]["type"] == ErrorType.TIME_LIMIT_EXCEEDED
    assert error["_internal"]["traceback"] == ""
    assert error["error"]["details"]["log_tail"] == "begun\n"


@pytest.mark.parametrize(
    "first",
    [
        "signal.signal(64, signal.SIG_DFL)",
        "signal.signal(64, signal.SIG_IGN)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))",
        "os.close(2)",
        "os.dup2(os.open('kept', os.O_RDWR | os.O_CREAT), 2)",
        "os.dup2(full()[1], 2)",
    ],
)
def test_one_that_cannot_be_asked_is_ended_all_the_same(
    first: str, layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Its outcome is that of its limit, and the next call succeeds."""
    body = f"""
    import fcntl
    import os
    import signal


    def full():
        read, write = os.pipe()
        os.set_blocking(write, False)
        try:
            while True:
                os.write(write, bytes(65536))
        except BlockingIOError:
            os.set_blocking(write, True)
        return read, write


    def run(payload):
        if payload:
            return payload
        {first}
        while True:
            pass
    """
    tool_runner = make_runner(write_plugin(body, limits=WALL), layers=layers)
    _, error = tool_runner.run("sample", {})
    assert error is not None
    assert error["error"]["type"] == ErrorType.TIME_LIMIT_EXCEEDED
    assert error["error"]["message"] == "ran longer than 0.5 s"
    assert tool_runner.run("sample", {"a": 1}) == ({"a": 1}, None)


def test_what_a_plugin_printed_is_no_stack_but_the_last_one() -> None:
    """A forged one before it is what it is: printed."""
    forged = 'Stack (most recent call first):\n  File "/a.py", line 1 in f\n'
    real = 'Stack (most recent call first):\n  File "/b.py", line 2 in g\n'
    where, rest = taken_out(f"x{forged}{real}late")
    assert where == 'Where it was (most recent call last):\n  File "/b.py", line 2, in g\n'
    assert rest == f"x{forged}late"
    assert taken_out("nothing of the kind") == ("", "nothing of the kind")
