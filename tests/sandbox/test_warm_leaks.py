"""Nothing piles up in a warm box."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import WHERE, box_of, value, wait_until
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.modes.warm_box import PoolLimits
from toolrunner.sandbox.processes import children_of

CALLS = 2000
# What stands ready for the next call may not all have been there at the first look. What one call
# in a hundred left behind would be more.
_FEW = 4


def open_things(warden: int) -> dict[str, list[str]]:
    """Return our descriptors, the warden's, and the processes below us, by their names."""
    below = psutil.Process().children(recursive=True)
    return {
        "ours": descriptors(os.getpid()),
        "the warden's": descriptors(warden),
        "processes": [f"{one.pid} of {one.ppid()}" for one in below if one.is_running()],
    }


def descriptors(pid: int) -> list[str]:
    """Return what a process has open."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except FileNotFoundError:  # it was closed meanwhile
            continue
    return found


def test_two_thousand_calls_leave_nothing_behind(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """The same descriptors and processes, one scratch a cell, and memory that does not grow."""
    tool_runner = make_runner(write_plugin(WHERE), layers=host_layers)

    def settled(warden: int) -> dict[str, list[str]]:
        wait_until(lambda: len(children_of(warden)) == 3, "the zygote and two cells stand by")
        return open_things(warden)

    for _ in range(CALLS // 10):
        value(tool_runner.run("sample", {}))
    warden = box_of(tool_runner)
    before = now = settled(warden)
    # It keeps what leads to the cgroups of a slot, once that has been used: three descriptors.
    spare = {"ours": _FEW, "the warden's": _FEW + 3 * PoolLimits().slots, "processes": _FEW}
    memory = psutil.Process().memory_info().rss
    for _ in range(CALLS):
        value(tool_runner.run("sample", {}))
    assert box_of(tool_runner) == warden

    def nothing_more() -> bool:
        nonlocal now
        now = settled(warden)
        return all(len(now[what]) <= len(before[what]) + spare[what] for what in spare)

    wait_until(nothing_more, lambda: f"no more than before: {before}, but {now}")
    assert psutil.Process().memory_info().rss - memory < 2 << 20
    mounts = Path(f"/proc/{warden}/mounts").read_text().splitlines()
    assert sum("/scratch/" in line for line in mounts) <= 3
