"""What counts against which limit, and how."""

from __future__ import annotations

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.runner.limit_rows import COMMON, Row, held, run, source
from toolrunner import Call
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import MIB


def test_pages_that_forks_share_count_once(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Six children of a process of 60 MiB use 60 MiB, not 420."""
    call = Call()
    plugin = write_plugin(
        f"{COMMON}\n"
        "def run(payload):\n"
        "    block = touch(60 * MIB)\n"
        "    wait(children(6, lambda: time.sleep(8 * HOLD)))\n"
        "    return {}\n",
        limits="{ memory_mb = 128 }",
    )
    _result, envelope = run(make_runner(plugin, layers=layers), call=call)
    assert envelope is None
    assert call.usage.processes == 7
    assert 60 * MIB < call.usage.peak_memory_bytes <= 128 * MIB


def test_shared_memory_files_are_scratch(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """What lies in /dev/shm counts against the scratch, and is nobody else's."""
    if "mount" not in host_layers.namespaces:
        pytest.skip("this kernel gives this user no namespaces (CLONE_NEWUSER is refused)")
    row = Row(
        "shm",
        "scratch_mb",
        4,
        "write('/dev/shm/f', 3 * MIB)",
        "write('/dev/shm/f', 2 * MIB); write('g', 3 * MIB)",
        "DiskLimitExceeded",
    )
    inside = write_plugin(source(row, beyond=False), limits="{ scratch_mb = 4 }")
    assert run(make_runner(inside, layers=host_layers))[1] is None
    beyond = write_plugin(source(row, beyond=True), limits="{ scratch_mb = 4 }")
    held(run(make_runner(beyond, layers=host_layers)), row)


def test_scratch_in_memory_counts_as_memory(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """A tmpfs is memory: files and heap share one limit."""
    if "mount" not in host_layers.namespaces:
        pytest.skip("this kernel gives this user no namespaces (CLONE_NEWUSER is refused)")
    row = Row(
        "both",
        "memory_mb",
        96,
        "",
        "write('f', 60 * MIB); block = touch(60 * MIB); time.sleep(LONG)",
        "MemoryLimitExceeded",
    )
    plugin = write_plugin(source(row, beyond=True), limits="{ memory_mb = 96, scratch_mb = 64 }")
    held(run(make_runner(plugin, layers=host_layers)), row)


def test_the_load_is_on_a_clock_of_its_own(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Wall and processor time begin with the request."""
    plugin = write_plugin(
        f"{COMMON}\nspin(1); time.sleep(2)\ndef run(payload): return {{}}\n",
        limits="{ wall_seconds = 2.5, cpu_seconds = 0.9 }",
    )
    assert run(make_runner(plugin, layers=layers))[1] is None
