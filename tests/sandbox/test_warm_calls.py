"""Warm boxes: a fresh process for every call, forked from the loaded plugin, and nothing shared."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import Any

import psutil
import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import PATIENCE_SECONDS, value
from toolrunner import Call
from toolrunner.sandbox.layers import Layers

BOTH_STARTS = pytest.mark.parametrize("start", ["auto", "cold"])
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
    here = os.path.dirname(os.path.dirname(os.getcwd()))
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
        before = attempt(lambda: os.sched_getaffinity(pid))
        attempt(lambda: os.sched_setaffinity(pid, {0}))
        if attempt(lambda: os.sched_getaffinity(pid)) != before:
            found[f"moves {pid}"] = "sched_setaffinity"
    for folder in (os.path.dirname(here), "/scratch"):
        if attempt(lambda: os.listdir(folder)):
            found[f"lists {folder}"] = str(os.listdir(folder))
    for slot in range(64):
        for base in ("/scratch", os.path.dirname(here)):
            path = f"{base}/{slot}/work"
            if path != os.path.dirname(os.getcwd()) and attempt(lambda: os.listdir(path)):
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
