"""Limits are enforced in time, whatever runs beside a call.

No assertion is on time: how far a limit was passed is told by what the call had used by then.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call, ToolRunner
from toolrunner.plugins.corpus import faults
from toolrunner.sandbox.layers import Layers

SLOW = next(fault for fault in faults() if fault.name == "resources/slow_to_measure")
MIB = 1 << 20
SLACK_MS = 250  # 100 for the neighbour, the rest for a host that is busy with other tests


@contextmanager
def beside(tool_runner: ToolRunner, variant: str) -> Iterator[None]:
    """Have calls that are slow to measure going on, one after the other."""
    over = threading.Event()
    runs: list[Call] = []

    def attack() -> None:
        while not over.is_set():
            runs.append(Call())
            tool_runner.run(
                SLOW.name.replace("/", "-").replace("_", "-"), {"variant": variant}, call=runs[-1]
            )

    thread = threading.Thread(target=attack)
    thread.start()
    try:
        yield
    finally:
        over.set()
        for call in runs:
            call.cancel()
        thread.join()


def error_of(answer: tuple[object, Any]) -> Any:
    """Return the error of a call that had to fail."""
    _result, envelope = answer
    assert envelope is not None
    return envelope["error"]


@pytest.fixture(autouse=True)
def counted_by_the_kernel(host_layers: Layers) -> None:
    """Skip where a tree can only be measured by reading /proc, which takes its neighbours' time."""
    if not host_layers.cgroup:
        pytest.skip("this user may make no cgroup with the controllers memory and pids")


@pytest.mark.parametrize("variant", [name for name, _ in SLOW.payloads])
def test_limits_hold_beside_what_is_slow_to_measure(
    variant: str,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    layers: Layers,
    open_folder: Path,
) -> None:
    """Processor time, memory and the clock: each of them ends the call beside it, and soon."""
    spinning = write_plugin(
        "def run(payload):\n    while True:\n        pass",
        name="spinning",
        limits="{ cpu_seconds = 0.5, wall_seconds = 60 }",
    )
    growing = write_plugin(
        """
        import mmap, time

        def run(payload):
            kept = []
            while True:  # 200 MiB a second, as long as nobody ends it
                kept.append(mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
                kept[-1].write(bytes(1 << 20))
                time.sleep(0.005)
        """,
        name="growing",
        limits="{ memory_mb = 64, wall_seconds = 60 }",
    )
    fine = write_plugin("def run(payload):\n    return {'fine': True}", name="fine")
    tool_runner = make_runner(spinning, growing, fine, layers=layers)
    tool_runner.registry.register("resources-slow-to-measure", instance=SLOW.plugin(open_folder))
    with beside(tool_runner, variant):
        cpu = error_of(tool_runner.run("spinning", {}))
        memory = error_of(tool_runner.run("growing", {}))
        good = tool_runner.run("fine", {})
    assert cpu["type"] == "CpuLimitExceeded"
    assert cpu["details"]["usage"]["cpu_ms"] <= 500 + SLACK_MS
    assert memory["type"] == "MemoryLimitExceeded"
    assert memory["details"]["usage"]["peak_memory_bytes"] <= (64 + 200 * SLACK_MS / 1000) * MIB
    assert good == ({"fine": True}, None)
