"""The cgroups of boxes: what they count, what they stop, and that none of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import value, wait_until, wardens
from toolrunner import Call
from toolrunner.sandbox.cgroups.files import remove_tree
from toolrunner.sandbox.cgroups.groups import PREFIX, Cgroups, sweep
from toolrunner.sandbox.cgroups.place import Place, find
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import MIB, Limits

HOLDER = """
import sys
from toolrunner.sandbox.cgroups.groups import Cgroups
from toolrunner.sandbox.cgroups.place import find
from toolrunner.sandbox.limits import Limits
Cgroups(find()).box(Limits()).slot(0)
print("made", flush=True)
sys.stdin.read()
"""

# Ways to take memory that the figures of a process in /proc show little or nothing of.
HIDDEN = {
    "dropped from a shared mapping": (
        "area = mmap.mmap(-1, SIZE)\n"
        "for at in range(0, SIZE, 1 << 20):\n"
        "    area[at : at + (1 << 20)] = b'x' * (1 << 20)\n"
        "    area.madvise(mmap.MADV_DONTNEED, at, 1 << 20)\n"
    ),
    "page tables": (
        "flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS\n"
        "areas = []\n"
        "for _ in range(SIZE // 4096 // 512 + 1):\n"
        "    areas.append(mmap.mmap(-1, 1 << 30, flags=flags, prot=mmap.PROT_READ))\n"
        "    for at in range(0, 1 << 30, 2 << 20):\n"
        "        areas[-1][at]\n"
    ),
    "heap": "kept = [b'x' * (1 << 20) for _ in range(SIZE >> 20)]\n",
}


@pytest.fixture
def place(host_layers: Layers) -> Place:
    """Where cgroups can be made."""
    if not host_layers.cgroup:
        pytest.skip("this user may make no cgroup with the controllers memory and pids")
    return find()


def folders_of(place: Place, pid: int) -> list[str]:
    """Return the cgroups that a runner's process has made, in every hierarchy."""
    return [
        f"{folder}/{name}"
        for folder in dict.fromkeys(place.folders.values())
        for name in os.listdir(folder)
        if name.startswith(f"{PREFIX}{pid}-")
    ]


def hold_some() -> subprocess.Popen[str]:
    """Start a process that has made cgroups."""
    holder = subprocess.Popen(
        [sys.executable, "-P", "-c", HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "made\n"
    return holder


def test_a_process_that_was_not_found_is_not_the_runner(place: Place) -> None:
    """The kernel takes 0 for whoever writes it, who would be held to a box's limit."""
    before = Path("/proc/self/cgroup").read_text("ascii")
    cgroups = Cgroups(place)
    groups = cgroups.box(Limits())
    with pytest.raises(ProcessLookupError):
        groups.imported.join(0)
    assert Path("/proc/self/cgroup").read_text("ascii") == before
    groups.remove()
    cgroups.close()


@pytest.mark.parametrize("warm", [True, False])
def test_nothing_is_left_of_a_closed_runner(
    warm: bool, place: Place, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Neither of a box nor of the runner."""
    before = folders_of(place, os.getpid())
    source = "def run(payload):\n    return {}\n"
    tool_runner = make_runner(write_plugin(source, start='"auto"' if warm else '"cold"'))
    value(tool_runner.run("sample", {}))
    assert folders_of(place, os.getpid()) > before
    tool_runner.close()
    assert folders_of(place, os.getpid()) == before


def sweep_all_of(place: Place, pid: int) -> None:
    """Sweep until nothing of a process is left: another test's runner may be sweeping it now."""
    while folders_of(place, pid):
        sweep(place)


def test_what_a_killed_runner_left_is_swept_and_nothing_else(place: Place) -> None:
    """The next one to start removes it, in every hierarchy; a living one's stay."""
    killed, living = hold_some(), hold_some()
    with killed, living:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert folders_of(place, killed.pid)
        sweep_all_of(place, killed.pid)
        assert len(folders_of(place, living.pid)) == len(set(place.folders.values()))
        living.kill()
        living.wait()
    sweep_all_of(place, living.pid)


def test_a_runner_elsewhere_leaves_those_of_the_living(place: Place) -> None:
    """One whose own cgroup is another in one hierarchy, and the same in the others."""
    cgroups = Cgroups(place)
    elsewhere = f"{place.folders['memory']}/elsewhere-{os.getpid()}"
    Path(elsewhere).mkdir()
    try:
        mine = folders_of(place, os.getpid())
        sweep(Place(place.version, {**place.folders, "memory": elsewhere}))
        assert folders_of(place, os.getpid()) == mine
    finally:
        remove_tree(elsewhere)
        cgroups.close()


def test_a_fork_leaves_those_of_its_parent(place: Place) -> None:
    """It can neither make boxes in them nor remove them."""
    cgroups = Cgroups(place)
    child = os.fork()
    if child == 0:
        refused = 1
        try:
            cgroups.box(Limits())
        except OSError:
            refused = 0
        cgroups.close()
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    mine = folders_of(place, os.getpid())
    sweep(place)
    assert folders_of(place, os.getpid()) == mine
    cgroups.box(Limits()).remove()
    cgroups.close()


def test_a_call_without_its_cgroup_is_refused(
    place: Place, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Nothing runs uncounted when the runner's own cgroup has been removed by somebody."""
    tool_runner = make_runner(write_plugin("def run(payload):\n    return {}\n", start='"cold"'))
    value(tool_runner.run("sample", {}))
    wait_until(lambda: not wardens(), "the box has ended")
    for folder in folders_of(place, os.getpid()):
        remove_tree(folder)
    result, error = tool_runner.run("sample", {})
    assert result is None
    assert error is not None
    assert error["error"]["type"] == "SandboxError"
    assert error["error"]["details"]["operation"] == "make a cgroup"


@pytest.mark.usefixtures("place")
def test_files_that_are_read_are_held_against_nobody(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """The kernel charges its page cache to who reads, and drops it when it is needed."""
    source = (
        "import os\n"
        "def run(payload):\n"
        "    read = 0\n"
        "    for folder, _, names in os.walk('/usr'):\n"
        "        for name in names:\n"
        "            try:\n"
        "                with open(f'{folder}/{name}', 'rb', buffering=0) as file:\n"
        "                    while piece := file.read(1 << 20):\n"
        "                        read += len(piece)\n"
        "            except OSError:\n"
        "                continue\n"
        "            if read > 200 << 20:\n"
        "                return {'read': read}\n"
        "    return {'read': read}\n"
    )
    tool_runner = make_runner(write_plugin(source, limits="{ memory_mb = 64 }"))
    call = Call()
    assert value(tool_runner.run("sample", {}, call=call))["read"] > 64 * MIB
    assert call.usage.peak_memory_bytes < 64 * MIB


@pytest.mark.usefixtures("place")
def test_names_that_were_looked_for_are_held_against_nobody(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """The kernel remembers what is not there, and charges it, until it needs the memory."""
    source = (
        "import os\n"
        "def run(payload):\n"
        "    return {'found': sum(os.path.exists(f'/usr/{n:0200}') for n in range(400_000))}\n"
    )
    runner = make_runner(write_plugin(source, limits="{ memory_mb = 64 }"))
    assert value(runner.run("sample", {})) == {"found": 0}


@pytest.mark.usefixtures("place")
def test_the_next_call_pays_for_none_before_it(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """A cgroup is used by one cell after the other, and counts for each from nothing."""
    source = (
        "def run(payload):\n"
        "    held = b'x' * (40 << 20)\n"
        "    with open('file', 'wb') as file:\n"
        "        file.write(held[: 8 << 20])\n"
        "    return {}\n"
    )
    tool_runner = make_runner(write_plugin(source, limits="{ memory_mb = 80 }"))
    for _ in range(12):
        call = Call()
        value(tool_runner.run("sample", {}, call=call))
        assert 48 * MIB <= call.usage.peak_memory_bytes < 80 * MIB


def test_what_the_import_holds_counts_for_each_call(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """As in a cold call: a warm one shares it, and still has it."""
    source = (
        "HELD = b'x' * (60 << 20)\n"
        "def run(payload):\n"
        "    held = b'y' * payload['bytes']\n"
        "    return {'length': len(held)}\n"
    )
    plugin = write_plugin(source, limits="{ memory_mb = 96 }")
    tool_runner = make_runner(plugin, layers=layers)
    value(tool_runner.run("sample", {"bytes": 10 * MIB}))
    _, error = tool_runner.run("sample", {"bytes": 80 * MIB})
    assert error is not None
    assert error["error"]["type"] == "MemoryLimitExceeded"


@pytest.mark.usefixtures("place")
def test_a_call_cannot_copy_all_of_a_large_import(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Its own figures would not show it: what it writes to stands in place of what it shared."""
    source = (
        "HELD = bytearray(170 << 20)\n"
        "HELD[::4096] = b'x' * len(HELD[::4096])\n"
        "def run(payload):\n"
        "    HELD[: payload['bytes'] : 4096] = b'y' * (payload['bytes'] // 4096)\n"
        "    return {}\n"
    )
    tool_runner = make_runner(write_plugin(source, limits="{ memory_mb = 200 }"))
    value(tool_runner.run("sample", {"bytes": 80 << 20}))
    _, error = tool_runner.run("sample", {"bytes": 170 << 20})
    assert error is not None
    assert error["error"]["type"] == "MemoryLimitExceeded"


@pytest.mark.usefixtures("place")
def test_a_child_that_the_kernel_ends_at_the_ceiling_ends_the_call(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """What is taken faster than anybody measures, by a process that nobody waits for."""
    source = (
        "import mmap, os, signal\n"
        "def run(payload):\n"
        "    for _ in range(4):\n"
        "        if os.fork() == 0:\n"
        "            kept = mmap.mmap(-1, 60 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "            for at in range(0, 60 << 20, 4096):\n"
        "                kept[at] = 1\n"
        "            signal.pause()\n"
        "    signal.pause()\n"
    )
    tool_runner = make_runner(write_plugin(source, limits="{ memory_mb = 64 }"))
    call = Call()
    result, error = tool_runner.run("sample", {}, call=call)
    assert result is None
    assert error is not None
    assert error["error"]["type"] == "MemoryLimitExceeded"
    assert error["error"]["details"]["limit"]["name"] == "memory_mb"
    assert 64 * MIB < call.usage.peak_memory_bytes < (64 * 1.25 + 64) * MIB


def test_a_plugin_cannot_reach_its_cgroup(
    place: Place, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Neither by its path nor by a descriptor that it was left."""
    source = (
        "import os\n"
        "def run(payload):\n"
        "    reached = [path for path in payload['paths'] if os.path.exists(path)]\n"
        "    for number in range(3, 256):\n"
        "        try:\n"
        "            if os.fstat(number).st_dev == payload['device']:\n"
        "                reached.append(number)\n"
        "        except OSError:\n"
        "            pass\n"
        "    return {'reached': reached}\n"
    )
    tool_runner = make_runner(write_plugin(source), layers=layers)
    folder = place.folders["memory"]
    paths = [f"{folder}/cgroup.procs"] if "mount" in layers.namespaces else []
    payload = {"paths": paths, "device": Path(folder).stat().st_dev}
    assert value(tool_runner.run("sample", payload)) == {"reached": []}


@pytest.mark.parametrize("way", HIDDEN)
@pytest.mark.usefixtures("place")
def test_what_proc_does_not_show_is_counted(
    way: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """However a call takes its memory, it is told how much that was, and stopped at its limit."""
    taking = textwrap.indent(HIDDEN[way], "    ")
    source = (
        f"import mmap\ndef run(payload):\n    SIZE = payload['bytes']\n{taking}    return {{}}\n"
    )
    tool_runner = make_runner(write_plugin(source, limits="{ memory_mb = 64 }"))
    call = Call()
    value(tool_runner.run("sample", {"bytes": 32 * MIB}, call=call))
    assert 32 * MIB <= call.usage.peak_memory_bytes < 64 * MIB
    call = Call()
    _, error = tool_runner.run("sample", {"bytes": 512 * MIB}, call=call)
    assert error is not None
    assert error["error"]["type"] == "MemoryLimitExceeded"
    assert error["error"]["details"]["limit"]["name"] == "memory_mb"
    assert 64 * MIB < call.usage.peak_memory_bytes < (64 * 1.25 + 64) * MIB
