"""Loading a plugin into a warm box: once, and each caller hears how it failed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import PATIENCE_SECONDS, value, wait_until, wardens
from toolrunner import Call
from toolrunner.sandbox.layers import Layers


def test_what_an_import_prints_belongs_to_the_first_call(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """It is printed once, and shown once."""
    path = write_plugin("print('imported')\ndef run(payload):\n    print('run')\n    return {}\n")
    tool_runner = make_runner(path, layers=host_layers)
    tails = []
    for _ in range(2):
        call = Call()
        value(tool_runner.run("sample", {}, call=call))
        tails.append(call.log_tail)
    assert tails == ["imported\nrun\n", "run\n"]


LOAD_FAILURES = {
    "raises": ("raise ValueError('no model')", "PluginLoadError"),
    "crashes": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "PluginLoadError"),
    "leaves": ("import os\nos._exit(3)", "PluginLoadError"),
    "hangs": ("import time\ntime.sleep(60)", "PluginLoadError"),
    "is too large": ("x = bytearray(300 << 20)", "MemoryLimitExceeded"),
}


@pytest.mark.parametrize("how", LOAD_FAILURES)
def test_a_failed_load_ends_the_call_that_asked_for_it_and_those_that_wait(
    how: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Each caller hears the plugin's own fault; nothing is left of the box."""
    body, error_type = LOAD_FAILURES[how]
    seconds = 0.5 if how == "hangs" else 60
    path = write_plugin(
        f"{body}\ndef run(payload):\n    return {{}}\n",
        limits=f"{{ load_seconds = {seconds}, memory_mb = 128 }}",
    )
    tool_runner = make_runner(path, layers=layers)
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(tool_runner.run("sample", {})))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert len(answers) == 3
    for result, error in answers:
        assert result is None
        assert error["error"]["type"] == error_type
        assert error["error"]["details"]["blame"] == "plugin"
        assert error["error"]["details"]["isolation"]["mode"] == "warm"
    status = tool_runner.registry.get_status("sample")
    assert status is not None
    assert (status.success_count, status.error_count) == (0, 3)
    wait_until(lambda: wardens() == [], "the box is gone")
