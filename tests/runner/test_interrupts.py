"""A Ctrl-C while a call runs."""

from __future__ import annotations

import signal
import threading

import psutil
import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.runner.error_cases import WAITING
from toolrunner import Call
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.processes import tree_below


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
        assert running.wait(120)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    if way == "while it waits":
        thread.start()
    with pytest.raises(KeyboardInterrupt):
        tool_runner.run("sample", {}, call=Call(on_progress=heard))
    if way == "while it waits":
        thread.join(120)
    assert box
    _gone, alive = psutil.wait_procs(box, timeout=120)
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
