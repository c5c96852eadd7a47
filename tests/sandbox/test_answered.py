"""A call is answered when its reply is there; its process ends behind it, and in any case."""

from __future__ import annotations

import os

import psutil
import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import value, wait_until, wardens
from toolrunner import Call
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.modes.warm_box import PoolLimits
from toolrunner.sandbox.processes import children_of

BOTH_STARTS = pytest.mark.parametrize("start", ["auto", "cold"])
STAYS = """
import os, time
os._exit = lambda status: time.sleep(3600)
def run(payload):
    return {"pid": os.getpid()}
"""
# 200 MiB under a limit of 64, in pieces, once there is nothing more to lose.
GROWS = """
import os, signal
def grow(status):
    held = []
    for _ in range(20):
        held.append(bytearray(10 << 20))
        held[-1][::4096] = b"x" * len(held[-1][::4096])
    signal.pause()
os._exit = grow
def run(payload):
    if payload["dies"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return {}
"""
# Of one slot, since only the call in it may pay for it.
WRITES = """
import os, time
def write(status):
    for number in range(3):
        with open(str(number), "wb") as file:
            file.write(bytes(1 << 20))
    time.sleep(3600)
def run(payload):
    if payload["writes"]:
        os._exit = write
    return {}
"""
LEAVES_A_CHILD = """
import subprocess
def run(payload):
    subprocess.Popen(["sleep", payload["seconds"]])
    return {}
"""


def stands_by() -> bool:
    """Tell whether the one warm box has its zygote and the two cells that wait for calls."""
    (warden,) = wardens()
    return len(children_of(warden.pid)) == 3


@BOTH_STARTS
def test_a_process_that_stays_after_its_reply_is_ended(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The call is answered as if it had ended, and more calls are than a box has slots."""
    tool_runner = make_runner(write_plugin(STAYS, start=f'"{start}"'), layers=layers)
    for _ in range(30 if start == "auto" else 3):
        value(tool_runner.run("sample", {}))
    if start == "cold":
        wait_until(lambda: not wardens(), "no box is left")
        return
    wait_until(stands_by, "the zygote, and two cells")


def test_what_a_process_does_after_its_reply_is_not_held_against_the_next_call(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The next one in its place dies by itself, and is not told that it took too much memory."""
    plugin = write_plugin(GROWS, limits="{ memory_mb = 64 }")
    tool_runner = make_runner(plugin, layers=layers)
    for _ in range(5):
        value(tool_runner.run("sample", {"dies": False}))
        wait_until(stands_by, "the zygote, and two cells")
        result, error = tool_runner.run("sample", {"dies": True})
        assert result is None
        assert error is not None
        # On a busy host its end is told late, and the missing reply is what counts.
        assert error["error"]["type"] in {"PluginCrashed", "ProtocolError"}


@BOTH_STARTS
def test_a_child_that_is_left_has_ended_when_the_call_is_answered(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Only a call that is one process is answered before its end."""
    tool_runner = make_runner(write_plugin(LEAVES_A_CHILD, start=f'"{start}"'), layers=layers)
    for number in range(3):
        call = Call()
        seconds = f"{os.getpid()}.{number}"
        value(tool_runner.run("sample", {"seconds": seconds}, call=call))
        assert call.usage.processes == 2
        left = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"]]
        assert not [p for p in left if p.info["cmdline"][-1] == seconds]


@BOTH_STARTS
def test_nothing_is_left_when_the_runner_is_closed(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Not even of a call that has just been answered, and does not end by itself."""
    tool_runner = make_runner(write_plugin(STAYS, start=f'"{start}"'), layers=layers)
    before = set(psutil.Process().children())
    value(tool_runner.run("sample", {}))
    tool_runner.close()
    assert set(psutil.Process().children()) <= before


def test_files_that_are_written_after_a_reply_are_not_held_against_the_next_call(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """What was measured of the last call in a slot is forgotten with it."""
    tool_runner = make_runner(
        write_plugin(WRITES, limits="{ scratch_mb = 2 }"),
        layers=layers,
        pool=PoolLimits(standby=0, parallel=1),
    )
    for _ in range(10):
        value(tool_runner.run("sample", {"writes": True}))
        wait_until(lambda: len(children_of(wardens()[0].pid)) == 1, "only the zygote is left")
        value(tool_runner.run("sample", {"writes": False}))


@BOTH_STARTS
def test_what_a_call_shares_with_its_import_is_in_its_peak(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Also of a call that is over before anything has been measured."""
    holds = "HELD = b'x' * (40 << 20)\ndef run(payload): return {}\n"
    tool_runner = make_runner(write_plugin(holds, start=f'"{start}"'), layers=layers)
    for _ in range(3):
        call = Call()
        value(tool_runner.run("sample", {}, call=call))
        assert 40 << 20 < call.usage.peak_memory_bytes < 80 << 20
