"""What a plugin may choose (names, hooks, what it leaves) and what nobody may be misled by."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import value, wait_until, wardens
from toolrunner import Call
from toolrunner.sandbox.capture import LogLines
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.scratch import remove_tree, tree_bytes

NAMED = """
    import ctypes, os, time
    libc = ctypes.CDLL(None)
    def run(payload):
        for name in (b"a\\rVmRSS:x", b"a\\rNSpid: 7", b"a\\rThreads: x"):
            if os.fork() == 0:
                libc.prctl(15, name, 0, 0, 0)
                if payload["ends"]:
                    os._exit(0)
                kept = b"x" * (60 << 20)
                time.sleep(600)
        time.sleep(600)
"""


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("counted", [True, False])
def test_a_name_of_a_process_hides_nothing(
    ends: bool,
    counted: bool,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    host_layers: Layers,
) -> None:
    """The kernel shows it among figures, and lets it have a carriage return in it."""
    layers = host_layers if counted else host_layers.without("cgroup")
    plugin = write_plugin(NAMED, limits="{ memory_mb = 100, wall_seconds = 2 }")
    runner = make_runner(plugin, layers=layers)
    call = Call()
    _, error = runner.run("sample", {"ends": ends}, call=call)
    assert error is not None
    wanted = "TimeLimitExceeded" if ends else "MemoryLimitExceeded"
    assert error["error"]["type"] == wanted
    assert call.usage.processes == 4 or not ends


HALF = """
    import time
    def run(payload):
        end = time.process_time() + 0.6
        while time.process_time() < end:
            pass
        return {}
"""


@pytest.mark.parametrize("start", ["auto", "cold"])
def test_processor_time_is_counted_once(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """By the samples or by the warden, not by both."""
    plugin = write_plugin(HALF, start=f'"{start}"', limits="{ cpu_seconds = 1 }")
    runner = make_runner(plugin, layers=host_layers.without("cgroup"))
    call = Call()
    value(runner.run("sample", {}, call=call))
    assert 600 <= call.usage.cpu_ms < 1000


TOUCHES = """
    import glob, os, time
    def attempt(function):
        try:
            function()
        except OSError:
            return False
        return True
    def run(payload, context):
        if payload["role"] == "victim":
            open("mine.txt", "w").write("secret")
            os.symlink("secret", "link")
            context.progress(0.5, "ready")
            time.sleep(payload["seconds"])
            return {"text": open("mine.txt").read(), "mode": os.stat(".").st_mode & 0o777,
                    "time": os.stat(".").st_mtime}
        done = []
        for work in payload["folders"]:
            if os.getcwd().startswith(work):
                continue
            for name in ("", "/mine.txt", "/link"):
                for what, touch in (
                    ("mode", lambda: os.chmod(work + name, 0)),
                    ("time", lambda: os.utime(work + name, (7, 7))),
                    ("length", lambda: os.truncate(work + name, 1)),
                ):
                    if attempt(touch):
                        done.append([what, work + name])
            if glob.glob(work + "/*"):
                done.append(["listed", work])
            for look in (lambda: os.stat(work + "/mine.txt"), lambda: os.readlink(work + "/link")):
                if attempt(look):
                    done.append(["seen", work])
        return {"done": done, "time": os.stat("..").st_mtime}
"""


def test_a_call_changes_nothing_of_another_ones_scratch(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Of one that runs, or of one that waits for its call."""
    runner = make_runner(write_plugin(TOUCHES), layers=layers)
    ready = threading.Event()
    call = Call(on_progress=lambda _fraction, _message: ready.set())
    answers = []
    victim = threading.Thread(
        target=lambda: answers.append(
            runner.run("sample", {"role": "victim", "seconds": 2}, call=call)
        )
    )
    victim.start()
    assert ready.wait(120)
    (warden,) = wardens()
    root = f"/proc/{warden.pid}/root/scratch"
    host = [child.cwd() for child in warden.children()]
    folders = [f"/scratch/{name}/work" for name in os.listdir(root)] if Path(root).exists() else []
    folders += sorted({str(Path(name).parent) for name in host if name != "/"})
    spied = value(runner.run("sample", {"role": "spy", "folders": folders}))
    assert spied["done"] == []
    victim.join()
    answer = value(answers[0])
    assert (answer["text"], answer["mode"]) == ("secret", 0o700)
    assert answer["time"] > 7
    for _ in range(3):
        assert value(runner.run("sample", {"role": "spy", "folders": []}))["time"] > 7


COPIES = """
    import ctypes, os, shutil
    def run(payload):
        open("a", "w").write("text")
        os.chmod("a", 0o640)
        os.truncate("a", 2)
        os.utime("a", (1000, 2000))
        shutil.copy2("a", "b")
        found = os.stat("b")
        denied = ctypes.CDLL(None).truncate(b"a", 1) != 0
        return {"mode": found.st_mode & 0o777, "time": found.st_mtime, "bytes": found.st_size,
                "by name": "denied" if denied else "done"}
"""


@pytest.mark.parametrize("abi", [2, 3])
def test_a_plugin_changes_modes_times_and_lengths_of_its_own_files(
    abi: int, write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """As libraries do that copy and unpack; in a box of its own root."""
    if "mount" not in host_layers.namespaces:
        pytest.skip("this kernel gives this user no namespaces (CLONE_NEWUSER is refused)")
    layers = replace(host_layers, landlock=min(abi, host_layers.landlock))
    runner = make_runner(write_plugin(COPIES), layers=layers)
    by_name = "denied" if layers.landlock < 3 else "done"
    wanted = {"mode": 0o640, "time": 2000, "bytes": 2, "by name": by_name}
    assert value(runner.run("sample", {})) == wanted


KEEPS = """
    import os, socket
    owner, pair = os.getpid(), []
    os.closerange = lambda *_: None
    def in_zygote():
        if os.getpid() == owner and not pair:
            pair.extend(socket.socketpair())
    os.register_at_fork(after_in_parent=in_zygote)
    def run(payload):
        if pair:
            socket.send_fds(pair[0], [b"x"], [os.open(".", os.O_RDONLY)])
        return {}
"""


def test_what_keeps_a_scratch_after_its_call_loses_its_box(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """Or every call would leave memory behind that nobody counts."""
    if "mount" not in host_layers.namespaces:
        pytest.skip("this kernel gives this user no namespaces (CLONE_NEWUSER is refused)")
    runner = make_runner(write_plugin(KEEPS), layers=host_layers)
    runner.run("sample", {})
    before = {warden.pid for warden in wardens()}

    def is_replaced() -> bool:
        value(runner.run("sample", {}))
        return not before & {warden.pid for warden in wardens()}

    wait_until(is_replaced, "its box is another one")


def test_a_cell_that_leaves_for_another_program_is_no_cell(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """Its own group is what it is counted and ended by; it cannot be given one any more."""
    source = (
        "import os, time\n"
        "os.register_at_fork(\n"
        "    after_in_child=lambda: os.execv('/bin/sleep', ['sleep', '600']),\n"
        "    after_in_parent=lambda: time.sleep(0.1),\n"
        ")\n"
        "def run(payload):\n    return {}\n"
    )
    runner = make_runner(write_plugin(source), layers=host_layers.without("cgroup"))
    for _ in range(4):
        runner.run("sample", {})
    assert "cold" in str(runner.start("sample"))


def test_empty_lines_of_a_log_are_bounded() -> None:
    """Each costs time to look at, however short it is."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    log = LogLines(64 * 1024, lambda *_: None)
    for _ in range(64):
        os.write(write, b"\n" * 65536)
        log.read(read)
    assert log.dropped > 60 * 65536
    os.close(read)
    os.close(write)


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A folder with a file far below what a path can name."""
    top = tmp_path / "deep"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(40):
        os.mkdir("x" * 250, dir_fd=here)
        inner = os.open("x" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    file = os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here)
    os.write(file, bytes(2 * MIB))
    os.close(file)
    os.close(here)
    return top


def test_files_below_a_long_path_are_counted_and_removed(deep: Path) -> None:
    """What cannot be looked at counts as too much."""
    assert tree_bytes(str(deep), MIB) > MIB
    remove_tree(str(deep))
    assert not deep.exists()


@pytest.mark.parametrize("marker", ["'a' in extras", "'' == ''", "python_version ~= 'abc'"])
def test_a_marker_that_cannot_be_judged_is_its_plugins_fault(
    marker: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """The others are found all the same."""
    good = write_plugin("def run(payload):\n    return {}\n", name="good")
    bad = write_plugin("def run(payload):\n    return {}\n", name="bad")
    text = bad.read_text().replace("# dependencies = []", f'# dependencies = ["x; {marker}"]')
    bad.write_text(text)
    runner = make_runner(good, bad)
    assert value(runner.run("good", {})) == {}
    _, error = runner.run("bad", {})
    assert error is not None
    assert error["error"]["type"] in {"PluginUnavailable", "PluginNotFound"}


LOOKS = """
    def run(payload):
        found = {}
        for name in payload["names"]:
            try:
                found[name] = len(open(f"/proc/{name}").read())
            except OSError:
                found[name] = 0
        return found
"""


def test_what_the_kernel_counts_of_itself_is_no_message(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """What one call can move and a later one read; what libraries look for is there."""
    runner = make_runner(write_plugin(LOOKS), layers=layers)
    names = ["vmstat", "buddyinfo", "interrupts", "cmdline", "fs/ext4", "locks"]
    assert set(value(runner.run("sample", {"names": names})).values()) == {0}
    needed = value(runner.run("sample", {"names": ["meminfo", "cpuinfo"]}))
    assert 0 not in needed.values()
