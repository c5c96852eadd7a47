"""A call that something else on the host has killed: the plugin has not to answer for that."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.api.conftest import common_environment
from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import arguments, value, wait_until
from toolrunner.runner.errors import ErrorType
from toolrunner.sandbox.cgroups.place import find
from toolrunner.sandbox.layers import Layers

STARTS = ("cold", "warm", "resident")
# An ordinary plugin ends children of its own by SIGKILL, whatever becomes of it later.
PLUGIN = """
    import os, signal, subprocess

    HOW = {
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "group": lambda: os.kill(0, signal.SIGKILL),
        "its group": lambda: os.killpg(os.getpgid(0), signal.SIGKILL),
        "thread": lambda: signal.pthread_kill(
            __import__("threading").main_thread().ident, signal.SIGKILL),
        "descriptor": lambda: signal.pidfd_send_signal(
            os.pidfd_open(os.getpid()), signal.SIGKILL),
        "child": lambda: subprocess.run(["sh", "-c", "kill -KILL $PPID"]),
    }

    def run(payload):
        child = subprocess.Popen(["sleep", "100"])
        child.kill()
        child.wait()
        if "how" in payload:
            HOW[payload["how"]]()
        if payload.get("waits"):
            subprocess.run(["sleep", "98"])
        return {"fine": True}
"""


def cells() -> list[psutil.Process]:
    """Return the process of the call that waits, once its child is there."""
    below = psutil.Process().children(recursive=True)
    sleeping = [p.ppid() for p in below if arguments(p) == ["sleep", "98"]]
    return [psutil.Process(pid) for pid in sleeping]


@pytest.mark.parametrize("start", STARTS)
def test_it_blames_the_host(
    start: str, layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """It may be called again, and then succeeds."""
    assert layers.seccomp_notify, "no seccomp listener: needs Linux 5.13, and none around this one"
    path = write_plugin(PLUGIN, start=f'"{start}"')
    tool_runner = make_runner(path, layers=layers, allow_resident=["*"])
    answers: list[Any] = []
    thread = threading.Thread(
        target=lambda: answers.append(tool_runner.run("sample", {"waits": True}))
    )
    thread.start()
    wait_until(lambda: bool(cells()), "the call runs")
    cells()[0].kill()
    thread.join(60)
    ((result, error),) = answers
    assert result is None
    assert error["error"]["type"] == ErrorType.SANDBOX_ERROR
    details = error["error"]["details"]
    assert (details["blame"], details["retryable"], details["signal"]) == ("host", True, "SIGKILL")
    assert "by something else than toolrunner and the plugin" in error["error"]["message"]
    assert value(tool_runner.run("sample", {})) == {"fine": True}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("how", ["kill", "group", "its group", "thread", "descriptor", "child"])
def test_one_that_kills_itself_is_to_blame(
    how: str, start: str, layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """In whatever way it says whom it means."""
    path = write_plugin(PLUGIN, start=f'"{start}"')
    tool_runner = make_runner(path, layers=layers, allow_resident=["*"])
    _, error = tool_runner.run("sample", {"how": how})
    assert error is not None
    assert error["error"]["type"] in {ErrorType.PLUGIN_CRASHED, ErrorType.EXECUTION_ERROR}
    assert error["error"]["details"]["blame"] == "plugin"
    assert value(tool_runner.run("sample", {})) == {"fine": True}


RUNS_OUT = """
import os, sys
from pathlib import Path
from toolrunner import PluginRegistry, ToolRunner

Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
registry = PluginRegistry.discover([sys.argv[2]])
with ToolRunner(registry) as tool_runner:
    for payload in ({"mb": 400}, {"mb": 1}):
        result, error = tool_runner.run("sample", payload)
        print(error["error"]["type"] if error else result, flush=True)
        print(error["error"]["message"] if error else "", flush=True)
"""
TAKES = """
    def run(payload):
        kept = bytearray(payload["mb"] << 20)
        for place in range(0, len(kept), 4096):
            kept[place] = 1
        return {"mb": len(kept) >> 20}
"""


def test_a_host_that_runs_out_of_memory(
    host_layers: Layers, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """The kernel's killer chooses the call, which was below its limit: its host has to be larger.

    The host is a cgroup of 250 MiB around the runner, so the call never holds more than that.
    """
    if not host_layers.cgroup:
        pytest.skip("this user may make no cgroup with the controllers memory and pids")
    place = find()
    host = Path(place.folders["memory"], f"test-{tmp_path.name}")
    host.mkdir()
    try:
        if place.version == 1:
            (host / "memory.limit_in_bytes").write_text(str(250 << 20))
            with contextlib.suppress(FileNotFoundError):  # a kernel that does not count swap
                (host / "memory.memsw.limit_in_bytes").write_text(str(250 << 20))
        else:
            (host / "memory.max").write_text(str(250 << 20))
            with contextlib.suppress(FileNotFoundError):
                (host / "memory.swap.max").write_text("0")
        path = write_plugin(TAKES, limits="{ memory_mb = 1024 }")
        done = subprocess.run(
            [sys.executable, "-P", "-c", RUNS_OUT, host, path],
            env=common_environment() | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        host.rmdir()
    assert done.stdout.splitlines() == [
        "Overloaded",
        "the host has no memory left, so the kernel's out-of-memory killer ended the call",
        "{'mb': 1}",
        "",
    ]
