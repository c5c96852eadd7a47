"""Processes that plugins make: they work, or fail at once and say what to use instead."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner.sandbox.layers import Layers

LIMITS = "{ wall_seconds = 60, load_seconds = 60 }"
WAYS = ("process", "pool", "executor", "manager", "interpreter")
SOURCE = """
import concurrent.futures
import multiprocessing
import subprocess
import sys


class Number:
    def __init__(self, value):
        self.value = value


def double(number):
    return Number(2 * number.value)


def tell(pipe, number):
    pipe.send(double(number))


def process(method):
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    child = context.Process(target=tell, args=(theirs, Number(21)))
    child.start()
    theirs.close()
    answer = ours.recv().value
    child.join()
    return answer


def pool(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(double, [Number(21)])[0].value


def executor(method):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        return executor.submit(double, Number(21)).result().value


def manager(method):
    return multiprocessing.get_context(method).Manager().list([42])[0]


def interpreter(_method):
    code = "import psutil, sys; print(int(sys.argv[1]) * 2)"
    return int(subprocess.check_output([sys.executable, "-c", code, "21"]))


def answer(payload):
    return {"answer": globals()[payload["way"]](payload["method"])}
"""
ENTRIES = {
    "function": "def run(payload):\n    return answer(payload)\n",
    "class": "class Plugin:\n    def run(self, payload):\n        return answer(payload)\n",
}
NO_SERVER = "use the start methods fork or spawn"
NO_MANAGER = "use a Queue, a Pipe or an Array"
NO_LOCKS = "use multiprocessing.Pipe, subprocess or threads"


@pytest.fixture(params=["file", "folder"])
def write_ways(request: pytest.FixtureRequest, write_plugin: WritePlugin, open_folder: Path) -> Any:
    """Return a function that writes the plugin, as a single file or as a folder."""

    def write(entry: str, start: str) -> Path:
        if request.param == "file":
            return write_plugin(SOURCE + ENTRIES[entry], limits=LIMITS, start=f'"{start}"')
        (open_folder / "toolrunner.toml").write_text(
            "[tool.toolrunner]\n"
            'name = "sample"\nversion = "1.0.0"\ndescription = "made for a test"\ninput = "json"\n'
            f'limits = {LIMITS}\nstart = "{start}"\n'
            f'entry = "ways:{"run" if entry == "function" else "Plugin"}"\n',
            "utf-8",
        )
        (open_folder / "ways.py").write_text(SOURCE + ENTRIES[entry], "utf-8")
        return open_folder

    return write


@pytest.mark.parametrize("start", ["auto", "cold"])
@pytest.mark.parametrize("entry", list(ENTRIES))
def test_processes_of_every_kind_work_or_say_what_to_use(
    entry: str, start: str, write_ways: Any, make_runner: MakeRunner, layers: Layers
) -> None:
    """Whether the plugin is a file or a folder, and warm or cold; and none of them hangs."""
    has_locks = "mount" in layers.namespaces
    tool_runner = make_runner(write_ways(entry, start), layers=layers)
    for way, method in itertools.product(WAYS, ("fork", "spawn", "forkserver")):
        missing = ""
        if way == "manager":
            missing = NO_MANAGER
        elif way in {"pool", "executor"} and not has_locks:
            missing = NO_LOCKS
        elif way != "interpreter" and method == "forkserver":
            missing = NO_SERVER
        result, envelope = tool_runner.run("sample", {"way": way, "method": method})
        if missing:
            assert envelope is not None, (way, method)
            assert envelope["error"]["type"] == "ExecutionError", (way, method, envelope)
            assert missing in envelope["error"]["message"], (way, method, envelope)
        else:
            assert (result, envelope) == ({"answer": 42}, None), (way, method)


def test_a_plugin_is_not_run_as_a_program(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """What stands below ``if __name__ == "__main__"`` is for its author's own trials."""
    tool_runner = make_runner(
        write_plugin(
            """
            name = __name__
            if __name__ == "__main__":
                raise SystemExit("run as a program")

            def run(payload):
                return {"name": name}
            """
        )
    )
    assert tool_runner.run("sample", {}) == ({"name": "plugin_sample"}, None)


@pytest.mark.parametrize("start", ["auto", "cold"])
def test_joblib_works(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """In processes where there are locks between them, one after the other elsewhere."""
    tool_runner = make_runner(
        write_plugin(
            """
            import os
            from joblib import Parallel, delayed

            def double(number):
                return 2 * number, os.getpid()

            def run(payload):
                done = Parallel(n_jobs=2)(delayed(double)(n) for n in range(8))
                return {"doubled": [n for n, _ in done], "own": os.getpid() in {p for _, p in done}}
            """,
            limits=LIMITS,
            start=f'"{start}"',
        ),
        layers=layers,
    )
    answer = tool_runner.run("sample", {})
    own = "mount" not in layers.namespaces
    assert answer == ({"doubled": list(range(0, 16, 2)), "own": own}, None)
