"""Nothing piles up in a warm box."""

from __future__ import annotations

from pathlib import Path

import psutil

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import WHERE, box_of, value, wait_until
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.modes.warm_box import PoolLimits
from toolrunner.sandbox.processes import children_of


def open_things(warden: int) -> tuple[int, int, int]:
    """Return our descriptors, the warden's, and the processes below us."""
    own = psutil.Process()
    return own.num_fds(), psutil.Process(warden).num_fds(), len(own.children(recursive=True))


def test_two_thousand_calls_leave_nothing_behind(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """The same descriptors and processes, one scratch a cell, and memory that does not grow."""
    calls = 2000
    tool_runner = make_runner(write_plugin(WHERE), layers=host_layers)

    def settled(warden: int) -> tuple[int, int, int]:
        wait_until(lambda: len(children_of(warden)) == 3, "the zygote and two cells stand by")
        return open_things(warden)

    for _ in range(calls // 10):
        value(tool_runner.run("sample", {}))
    warden = box_of(tool_runner)
    ours, the_wardens, processes = settled(warden)
    # It keeps what leads to the cgroups of a slot, once that has been used: three descriptors.
    before = (ours, the_wardens + 3 * PoolLimits().slots, processes)
    memory = psutil.Process().memory_info().rss
    for _ in range(calls):
        value(tool_runner.run("sample", {}))
    assert box_of(tool_runner) == warden
    wait_until(
        lambda: all(now <= then for now, then in zip(settled(warden), before, strict=True)),
        "no more descriptors and processes than before",
    )
    assert psutil.Process().memory_info().rss - memory < 2 << 20
    mounts = Path(f"/proc/{warden}/mounts").read_text().splitlines()
    assert sum("/scratch/" in line for line in mounts) <= 3
