"""Warm boxes: a fresh process for every call, forked from the loaded plugin, and nothing shared."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call, ToolRunner
from toolrunner.plugins.corpus import faults
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.modes.warm_box import PoolLimits
from toolrunner.sandbox.watchdog import children_of

PATIENCE_SECONDS = 30.0
BOTH_STARTS = pytest.mark.parametrize("start", ["auto", "cold"])


def value(answer: tuple[Any, Any]) -> Any:
    """Return the result of a call that must have succeeded."""
    result, error = answer
    assert error is None, error
    return result


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that happens by itself; fail when it does not."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}"
        time.sleep(0.05)


def wardens() -> list[psutil.Process]:
    """Return the wardens that this process has, without launchers that wait for a box."""
    return [child for child in psutil.Process().children() if children_of(child.pid)]


def has_ended(process: psutil.Process) -> bool:
    """Tell whether a process has ended, reaped or not."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def mode_of(tool_runner: ToolRunner, name: str = "sample") -> str:
    """Call a plugin and return how its call ran."""
    call = Call()
    value(tool_runner.run(name, {}, call=call))
    return call.isolation.mode


# --- each call for itself ------------------------------------------------------------------

STATE = """
import os, random, sys
calls = []
def run(payload):
    calls.append(payload)
    left = [f for f in os.listdir(".")]
    os.environ["LEFT"] = os.environ.get("LEFT", "") + "x"
    sys.modules["left_behind"] = sys
    beside = os.path.exists("../beside")
    open("left.txt", "w").write("x")
    try:
        open("../beside", "w").write("x")
    except OSError:
        pass
    try:
        open("/dev/shm/left", "w").write("x")
    except OSError:
        pass
    os.chmod(".", 0o700)
    fds = 0
    for number in range(64):
        try:
            os.fstat(number)
            fds += 1
        except OSError:
            pass
    try:
        shm = sorted(os.listdir("/dev/shm"))
    except OSError:
        shm = []
    return {
        "calls": len(calls), "left": left, "env": os.environ["LEFT"], "pid": os.getpid(),
        "random": random.random(), "fds": fds, "shm": shm, "beside": beside,
    }
"""


@BOTH_STARTS
def test_a_call_finds_nothing_of_an_earlier_one(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Not in the module, the environment, the scratch, shared memory or descriptors."""
    # chmod is denied where nothing is mounted read-only.
    body = (
        STATE if "mount" in layers.namespaces else STATE.replace("    os.chmod", "    # os.chmod")
    )
    tool_runner = make_runner(write_plugin(body, start=f'"{start}"'), layers=layers)
    calls = [Call() for _ in range(6)]
    answers = [value(tool_runner.run("sample", {}, call=call)) for call in calls]
    assert {call.isolation.mode for call in calls} == {"cold" if start == "cold" else "warm"}
    for answer in answers:
        assert answer["calls"] == 1
        assert answer["left"] == []
        assert answer["beside"] is False
        assert answer["env"] == "x"
        assert set(answer["shm"]) <= {"left", "left.txt"}
    assert len({answer["random"] for answer in answers}) == len(answers)
    assert len({answer["fds"] for answer in answers}) == 1
    if start == "auto":
        assert len({answer["pid"] for answer in answers}) == len(answers)


def test_random_numbers_differ_between_calls(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """Of ``random`` and of NumPy's global generator, though both are forked."""
    body = """
    import random
    import numpy
    numpy.random.seed(1)
    random.seed(1)
    def run(payload):
        return {"random": random.random(), "numpy": float(numpy.random.random())}
    """
    tool_runner = make_runner(write_plugin(body), layers=host_layers)
    answers = [value(tool_runner.run("sample", {})) for _ in range(4)]
    assert len({a["random"] for a in answers}) == 4
    assert len({a["numpy"] for a in answers}) == 4


SPY = r"""
import ctypes, errno, os, signal, socket, struct, time
libc = ctypes.CDLL(None, use_errno=True)

def attempt(function):
    try:
        return repr(function())[:200]
    except Exception as error:
        return None

def run(payload, context):
    if payload["role"] == "victim":
        open("secret.txt", "w").write(payload["secret"])
        memory = payload["secret"] * 1000
        context.progress(0.5, "waiting")
        time.sleep(payload["seconds"])
        assert open("secret.txt").read() == payload["secret"]
        assert sorted(os.listdir(".")) == ["secret.txt"], os.listdir(".")
        return {"ok": memory[:3]}
    here = os.path.dirname(os.getcwd())
    found = {}
    # Numbers of the box, or of the very processes that the test has made: nobody else's.
    others = [pid for pid in payload["pids"] if pid != os.getpid()]
    for pid in others:
        if attempt(lambda: os.kill(pid, 0)) is not None:
            found[f"sees {pid}"] = "signal 0"
        for number in (signal.SIGKILL, signal.SIGSTOP):
            if attempt(lambda: os.kill(pid, number)) is not None:
                found[f"signals {pid}"] = str(number)
        for name in ("status", "cmdline", "environ", "maps", "mem", "cwd", "root", "fd", "stat"):
            path = f"/proc/{pid}/{name}"
            if attempt(lambda: os.listdir(path) if name == "fd" else os.open(path, os.O_RDONLY)):
                found[f"reads {path}"] = name
        for path in (f"/proc/{pid}/cwd/secret.txt", f"/proc/{pid}/root/etc/passwd"):
            if attempt(lambda: open(path).read()):
                found[f"reads {path}"] = "file"
        if attempt(lambda: os.pidfd_open(pid)) and libc.syscall(438, os.pidfd_open(pid), 3, 0) >= 0:
            found[f"takes descriptors of {pid}"] = "pidfd_getfd"
        if attempt(lambda: os.setpgid(0, pid)) is not None:
            found[f"joins {pid}"] = "setpgid"
        if attempt(lambda: os.setpriority(os.PRIO_PROCESS, pid, 19)) is not None:
            found[f"slows {pid}"] = "setpriority"
        if attempt(lambda: os.sched_setaffinity(pid, {0})) is not None:
            found[f"moves {pid}"] = "sched_setaffinity"
    for folder in (os.path.dirname(here), "/scratch"):
        if attempt(lambda: os.listdir(folder)):
            found[f"lists {folder}"] = str(os.listdir(folder))
    for slot in range(64):
        for base in ("/scratch", os.path.dirname(here)):
            path = f"{base}/{slot}/work"
            if path != os.getcwd() and attempt(lambda: os.listdir(path)):
                found[f"lists {path}"] = str(os.listdir(path))
            for name in (f"{base}/{slot}/left", f"{base}/left"):
                if os.path.dirname(name) == here and not payload["alone"]:
                    continue  # on the host's disk this folder is its own, and emptied after it
                if attempt(lambda: open(name, "w").write("x")):
                    found[f"writes {name}"] = "file"
    for name in ("/left", "/tmp/left", "/dev/left", "/etc/left"):
        if attempt(lambda: open(name, "w").write("x")):
            found[f"writes {name}"] = "file"
    if attempt(lambda: socket.socket(socket.AF_UNIX)):
        found["a socket"] = "AF_UNIX"
    watch = libc.inotify_init()
    if watch >= 0 and libc.inotify_add_watch(watch, b"/usr/lib", 0xFFF) >= 0:
        found["watches files"] = "inotify"
    if libc.syscall(29, 0, 4096, 0o1600) >= 0:
        found["shared memory"] = "shmget"
    if payload["alone"]:
        # It says yes even if it was allowed to reach nobody; the others must live on.
        attempt(lambda: os.kill(-1, signal.SIGKILL))
    return {"found": found}
"""


@BOTH_STARTS
def test_a_call_cannot_reach_another_one_of_its_plugin(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """One that its input has taken over sees, signals, slows down and reads none beside it."""
    tool_runner = make_runner(write_plugin(SPY, start=f'"{start}"'), layers=layers)
    waiting = threading.Event()
    answers: list[Any] = []
    call = Call(on_progress=lambda _fraction, _message: waiting.set())
    secret = "s3cr3t"
    victim = threading.Thread(
        target=lambda: answers.append(
            tool_runner.run(
                "sample", {"role": "victim", "secret": secret, "seconds": 1.5}, call=call
            )
        )
    )
    victim.start()
    assert waiting.wait(PATIENCE_SECONDS)
    alone = "pid" in layers.namespaces
    ours = [p.pid for p in psutil.Process().children(recursive=True)]
    payload = {"role": "spy", "pids": list(range(1, 100)) if alone else ours, "alone": alone}
    spied = value(tool_runner.run("sample", payload))
    victim.join(PATIENCE_SECONDS)
    assert value(answers[0]) == {"ok": secret[:3]}
    assert spied["found"] == {}


# --- what forbids warm ---------------------------------------------------------------------

REASONS = {
    "threads": (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
        "starts threads (1)",
    ),
    "processes": (
        "import os, time\nif os.fork() == 0:\n    time.sleep(60)\n    os._exit(0)",
        "starts processes (1)",
    ),
    "shared memory": (
        "import mmap\nshared = mmap.mmap(-1, 4096)",
        "maps writable shared memory (1)",
    ),
    "an open file": ("opened = open('/usr/bin/env', 'rb')", "leaves files or sockets open (1)"),
    "a socket": ("import socket\npair = socket.socketpair()", "leaves files or sockets open (2)"),
    "a written file": ("open('state.txt', 'w').write('x')", "writes files (1)"),
}


@pytest.mark.parametrize("start", ["auto", "warm"])
@pytest.mark.parametrize("what", REASONS)
def test_what_a_fork_would_break_or_share_makes_a_plugin_cold(
    what: str, start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """It runs all the same, and the reason is there to read; ``warm`` asked for changes nothing."""
    body, reason = REASONS[what]
    path = write_plugin(f"{body}\ndef run(payload):\n    return {{}}\n", start=f'"{start}"')
    tool_runner = make_runner(path, layers=layers)
    chosen = tool_runner.start("sample")
    assert chosen.mode == "cold"
    assert [r for r in chosen.reasons if reason in r], chosen.reasons
    assert mode_of(tool_runner) == "cold"
    wait_until(lambda: wardens() == [], "the box that only showed the reason is closed")


def test_a_plain_plugin_is_warm(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """``auto`` takes warm, with and without namespaces."""
    body = "import json, tempfile\nfolder = tempfile.gettempdir()\ndef run(p):\n    return {}\n"
    tool_runner = make_runner(write_plugin(body), layers=layers)
    assert tool_runner.start("sample").mode == "warm"
    assert mode_of(tool_runner) == "warm"


def test_a_manifest_can_ask_for_cold(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """Then nothing is loaded ahead, and the reason says who wants it so."""
    path = write_plugin("def run(payload):\n    return {}\n", start='"cold"')
    tool_runner = make_runner(path, layers=host_layers)
    assert str(tool_runner.start("sample")) == 'cold: its manifest says start = "cold"'
    assert mode_of(tool_runner) == "cold"


@pytest.mark.parametrize("missing", ["landlock", "seccomp"])
def test_a_host_that_cannot_keep_calls_apart_is_cold(
    missing: str, write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """Landlock and seccomp keep the cells of one box apart; without them, each has its own."""
    layers = host_layers.without(missing)
    path = write_plugin("def run(payload):\n    return {}\n")
    tool_runner = make_runner(path, layers=layers, degraded=True)
    chosen = tool_runner.start("sample")
    assert chosen.mode == "cold"
    assert missing.lower() in chosen.reasons[0].lower()
    assert mode_of(tool_runner) == "cold"


# --- loading -------------------------------------------------------------------------------


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
    path = write_plugin(
        f"{body}\ndef run(payload):\n    return {{}}\n",
        limits="{ load_seconds = 0.5, memory_mb = 128 }",
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


# --- the life of a box ---------------------------------------------------------------------

WHERE = "import os\ndef run(payload):\n    return {'box': os.getppid(), 'text': 'one'}\n"


def box_of(tool_runner: ToolRunner) -> int:
    """Return the warden of the one warm box, after a call."""
    value(tool_runner.run("sample", {}))
    (warden,) = wardens()
    return warden.pid


def test_a_box_serves_many_calls_and_is_replaced_after_so_many(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The next call makes a new one."""
    tool_runner = make_runner(write_plugin(WHERE), layers=layers, pool=PoolLimits(calls=3))
    first = [box_of(tool_runner) for _ in range(3)]
    assert len(set(first)) == 1
    value(tool_runner.run("sample", {}))
    wait_until(lambda: [w.pid for w in wardens()] != [first[0]], "a new box")
    wait_until(lambda: not psutil.pid_exists(first[0]), "the old box is closed")


def test_a_box_is_replaced_when_the_plugin_changes(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """A file that was written anew is what the next call runs."""
    path = write_plugin(WHERE)
    tool_runner = make_runner(path, layers=host_layers)
    assert value(tool_runner.run("sample", {}))["text"] == "one"
    path.write_text(path.read_text().replace("'one'", "'two'"))
    assert value(tool_runner.run("sample", {}))["text"] == "two"


def test_a_box_is_replaced_when_a_file_of_a_folder_plugin_changes(
    tmp_path: Path, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """Any file: here one that the plugin imports."""
    tmp_path.chmod(0o755)
    folder = tmp_path / "sample"
    folder.mkdir(mode=0o755)
    (folder / "toolrunner.toml").write_text(
        '[tool.toolrunner]\nname = "sample"\nversion = "1.0.0"\ndescription = "made for a test"\n'
        'input = "json"\nentry = "main:run"\n'
    )
    (folder / "main.py").write_text("import helper\ndef run(p):\n    return helper.answer()\n")
    helper = folder / "helper.py"
    helper.write_text("def answer():\n    return {'text': 'one'}\n")
    tool_runner = make_runner(folder, layers=host_layers)
    assert value(tool_runner.run("sample", {})) == {"text": "one"}
    helper.write_text("def answer():\n    return {'text': 'another'}\n")
    wait_until(
        lambda: bool(value(tool_runner.run("sample", {})) == {"text": "another"}),
        "the new file is what runs",
    )


@pytest.mark.parametrize("who", ["warden", "zygote"])
def test_a_box_that_has_died_is_replaced(
    who: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The next call knows nothing of it."""
    tool_runner = make_runner(write_plugin(WHERE), layers=layers)
    first = box_of(tool_runner)
    victim = first if who == "warden" else children_of(first)[0]
    process = psutil.Process(victim)
    process.kill()
    wait_until(lambda: has_ended(process), "it is dead")
    for _ in range(4):
        value(tool_runner.run("sample", {}))
    assert tool_runner.start("sample").mode == "warm"
    wait_until(lambda: first not in [w.pid for w in wardens()], "the dead box is gone")


def test_an_idle_box_is_closed(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Nothing of it is left, and the next call makes another."""
    pool = PoolLimits(idle_seconds=0.2)
    tool_runner = make_runner(write_plugin(WHERE), layers=layers, pool=pool)
    value(tool_runner.run("sample", {}))
    wait_until(lambda: wardens() == [], "the idle box is closed")
    value(tool_runner.run("sample", {}))


def test_boxes_are_bounded_in_number(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """The one that has been idle longest goes first; without any, calls run cold."""
    paths = [write_plugin(WHERE, name=name) for name in ("first", "second", "third")]
    tool_runner = make_runner(*paths, layers=host_layers, pool=PoolLimits(boxes=2))
    assert [mode_of(tool_runner, name) for name in ("first", "second", "third")] == ["warm"] * 3
    wait_until(lambda: len(wardens()) == 2, "the third box has taken the place of the first")
    none = make_runner(*paths, layers=host_layers, pool=PoolLimits(boxes=0))
    assert mode_of(none, "first") == "cold"


def test_boxes_are_bounded_in_memory(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """Those that have been idle longest are closed until the rest fits."""
    body = "kept = bytearray(b'x') * (60 << 20)\ndef run(payload):\n    return {}\n"
    paths = [write_plugin(body, name=name) for name in ("first", "second")]
    pool = PoolLimits(memory_mb=100, standby=0)
    tool_runner = make_runner(*paths, layers=host_layers, pool=pool)
    for name in ("first", "second"):
        assert mode_of(tool_runner, name) == "warm"
    wait_until(lambda: len(wardens()) == 1, "one box is closed")


@pytest.mark.parametrize("standby", [0, 1, 3])
def test_as_many_cells_stand_by_as_asked(
    standby: int, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Beside the zygote, while nothing runs."""
    pool = PoolLimits(standby=standby)
    tool_runner = make_runner(write_plugin(WHERE), layers=layers, pool=pool)
    for _ in range(4):
        warden = box_of(tool_runner)

    def cells() -> int:
        return len(children_of(warden)) - 1

    if standby:
        wait_until(lambda: standby <= cells() <= standby + 1, "cells stand by")
    else:
        wait_until(lambda: cells() == 0, "no cell stands by")


def test_calls_of_one_plugin_run_side_by_side(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Each waits for all the others to have begun: one after the other, none would end."""
    together = 4
    body = """
    def run(payload, context):
        context.progress(0.5)
        while context.seconds_left() > 0:
            pass
        return {}
    """
    path = write_plugin(body, limits="{ wall_seconds = 20 }")
    tool_runner = make_runner(
        path, layers=layers, max_concurrent=together, pool=PoolLimits(parallel=together)
    )
    begun = threading.Barrier(together + 1)

    def on_progress(_fraction: float, _message: str) -> None:
        begun.wait(PATIENCE_SECONDS)

    calls = [Call(on_progress=on_progress) for _ in range(together)]
    threads = [
        threading.Thread(target=tool_runner.run, args=("sample", {}), kwargs={"call": call})
        for call in calls
    ]
    for thread in threads:
        thread.start()
    begun.wait(PATIENCE_SECONDS)
    assert len(wardens()) == 1
    for call in calls:
        call.cancel()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def test_a_killed_call_leaves_the_others_of_its_box_alone(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Limits are each call's own."""
    # The quiet one lasts longer than it takes to give up on a kill, and end the box instead.
    body = """
    import time
    def run(payload, context):
        if payload["bomb"]:
            return {"size": len(b"x" * (400 << 20))}
        context.progress(0.5)
        while context.seconds_left() > payload["until"]:
            time.sleep(0.01)
        return {"done": True}
    """
    limits = "{ wall_seconds = 20, memory_mb = 96 }"
    tool_runner = make_runner(write_plugin(body, limits=limits), layers=layers)
    begun = threading.Event()
    answers: list[Any] = []
    call = Call(on_progress=lambda *_: begun.set())
    quiet = threading.Thread(
        target=lambda: answers.append(
            tool_runner.run("sample", {"bomb": False, "until": 16.0}, call=call)
        )
    )
    quiet.start()
    assert begun.wait(PATIENCE_SECONDS)
    for _ in range(3):
        _result, error = tool_runner.run("sample", {"bomb": True})
        assert error is not None
        assert error["error"]["type"] == "MemoryLimitExceeded"
    quiet.join(PATIENCE_SECONDS)
    assert value(answers[0]) == {"done": True}
    assert call.isolation.mode == "warm"


def test_an_image_arrives_as_it_was_sent(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Eight megabytes of it, as raw bytes."""
    body = """
    import hashlib
    def run(payload):
        image = payload["image"]
        return {"kind": type(image).__name__, "hash": hashlib.sha256(image).hexdigest()}
    """
    tool_runner = make_runner(write_plugin(body, input="image"), layers=layers)
    image = b"\x89PNG\r\n\x1a\n" + os.urandom(8 << 20)
    payload = {"image": image, "mime_type": "image/png", "options": {}}
    answer = value(tool_runner.run("sample", payload))
    assert answer == {"kind": "bytes", "hash": hashlib.sha256(image).hexdigest()}


# --- imports written to break the box --------------------------------------------------------

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
        "signal.signal(signal.SIGALRM, later)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.05, 0.01)\n"
        "def run(payload):\n    return {}\n"
    )
    tool_runner = make_runner(write_plugin(source, limits="{ memory_mb = 64 }"), layers=host_layers)
    tool_runner.start("sample")
    wait_until(lambda: reason in str(tool_runner.start("sample")), reason)
    tool_runner.run("sample", {})
    wait_until(lambda: wardens() == [], "its box is closed")


# --- nothing piles up ------------------------------------------------------------------------


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
    before, memory = settled(warden), psutil.Process().memory_info().rss
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
