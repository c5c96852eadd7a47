"""Imports that are written to break their box, or that go on after they are done."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import WHERE, value, wait_until, wardens
from toolrunner.plugins.corpus import faults
from toolrunner.sandbox.layers import Layers

HOSTILE_IMPORTS = (
    "imports/fork_hook_ends_cells",
    "imports/closes_descriptors",
    "imports/talks_to_the_warden",
    "imports/kills_itself_later",
    "imports/forks_later",
    "imports/never_answers_again",
    "imports/replaces_streams_and_modules",
)


@pytest.mark.parametrize("how", HOSTILE_IMPORTS)
def test_an_import_that_breaks_its_box_breaks_nothing_else(
    how: str, tmp_path: Path, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Its own calls end, and are recorded; those of others go on; nothing is left."""
    tool_runner = make_runner(write_plugin(WHERE), layers=layers)
    (fault,) = (fault for fault in faults() if fault.name == how)
    tool_runner.registry.register("hostile", instance=fault.plugin(tmp_path / "faults"))
    before = set(psutil.Process().children(recursive=True))
    for _ in range(6):
        result, error = tool_runner.run("hostile", {})
        assert (result is None) != (error is None)
        if error is not None:
            assert error["error"]["type"] != "InternalError"
        value(tool_runner.run("sample", {}))
    status = tool_runner.registry.get_status("hostile")
    assert status is not None
    assert status.success_count + status.error_count == 6
    tool_runner.close()
    left = set(psutil.Process().children(recursive=True)) - before
    assert [p for p in left if p.status() != psutil.STATUS_ZOMBIE] == []


LATER = {
    "processes": ("    os.fork() or signal.pause()\n", "starts processes later on"),
    # More than the limit, and less than what the kernel refuses.
    "memory": ("    kept or kept.append(b'x' * (66 << 20))\n", "goes on to take memory"),
    "processor time": (
        "    end = time.process_time() + 1\n    while time.process_time() < end:\n        pass\n",
        "goes on to use processor time",
    ),
}


@pytest.mark.parametrize("what", LATER)
def test_an_import_that_goes_on_afterwards_makes_its_plugin_cold(
    what: str, write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """No limit is passed by what works on between the calls, and the reason is there to read."""
    body, reason = LATER[what]
    source = (
        "import os, signal, time\nkept = []\nowner = os.getpid()\n"
        f"def later(*_):\n    if os.getpid() != owner:\n        return\n{body}"
        "def begin():\n    if os.getpid() == owner:\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.01)\n"
        "signal.signal(signal.SIGALRM, later)\n"
        # By the first fork the import is over and has been looked at.
        "os.register_at_fork(after_in_parent=begin)\n"
        "def run(payload):\n    return {}\n"
    )
    tool_runner = make_runner(write_plugin(source, limits="{ memory_mb = 64 }"), layers=host_layers)
    tool_runner.start("sample")
    wait_until(lambda: reason in str(tool_runner.start("sample")), reason)
    tool_runner.run("sample", {})
    wait_until(lambda: wardens() == [], "its box is closed")
