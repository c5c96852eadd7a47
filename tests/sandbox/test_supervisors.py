"""Warden and zygote where Landlock does not keep a call from them: namespaces and seccomp alone."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import value
from toolrunner import Call
from toolrunner.sandbox.layers import Layers, floor_gaps

ATTACK = r"""
    import ctypes, os, signal, subprocess, sys
    libc = ctypes.CDLL(None, use_errno=True)
    READ = ("mem", "environ", "maps", "smaps", "auxv", "stack", "syscall", "pagemap", "personality",
            "fd/0", "fd/6", "cwd", "root", "exe", "ns/user", "map_files", "fdinfo/0")
    WRITE = ("mem", "comm", "oom_score_adj", "clear_refs", "coredump_filter", "timerslack_ns",
             "attr/current", "sched", "autogroup", "setgroups", "uid_map")

    def opened(path, flags):
        os.close(os.open(path, flags))

    def run(payload):
        got = []
        others = [pid for pid in range(1, 40) if pid != os.getpid()]
        def attempt(what, function):
            try:
                function()
                got.append(what)
            except OSError:
                pass
        for pid in others:
            for task in (f"/proc/{pid}", f"/proc/{pid}/task/{pid}"):
                for name in READ:
                    attempt(f"reads {task}/{name}", lambda: opened(f"{task}/{name}", os.O_RDONLY))
                for name in WRITE:
                    attempt(f"writes {task}/{name}", lambda: opened(f"{task}/{name}", os.O_RDWR))
            for number in (0, signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
                attempt(f"signals {pid}", lambda: os.kill(pid, number))
                if pid > 1:
                    attempt(f"signals group {pid}", lambda: os.killpg(pid, number))
                if libc.tgkill(pid, pid, number) == 0:
                    got.append(f"signals thread {pid}")
        attempt("signals everybody", lambda: os.kill(-1, signal.SIGKILL))
        for name in ("self/comm", "self/oom_score_adj", "self/mem", "sys/kernel/hostname"):
            attempt(f"writes {name}", lambda: opened(f"/proc/{name}", os.O_WRONLY))
        if libc.prctl(4, 0, 0, 0, 0) == 0:
            got.append("hides itself")
        command = [sys.executable, "-I", "-S", "-c", "input()"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE)
        child.kill()
        return {"got": got, "child": child.wait()}
"""


@pytest.fixture(params=[0, 1, 2, 3, 4, 5])
def older(request: pytest.FixtureRequest, host_layers: Layers) -> Layers:
    """The host's namespaces with an older Landlock than has scopes, or none."""
    if "pid" not in host_layers.namespaces:
        pytest.skip("this kernel gives this user no pid namespaces (CLONE_NEWPID is refused)")
    return replace(host_layers, landlock=min(request.param, host_layers.landlock))


def test_supervisors_are_out_of_reach(
    older: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Neither read, written to nor signalled by number, group, thread or all at once.

    A call's own children are its own: it ends them as everywhere.
    """
    assert floor_gaps(older) == ()
    tool_runner = make_runner(write_plugin(ATTACK), layers=older)
    answer = value(tool_runner.run("sample", {}))
    assert answer == {"got": [], "child": -9}
    assert value(tool_runner.run("sample", {})) == answer


def test_what_is_hidden_from_a_call_is_measured_all_the_same(
    older: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Memory and scratch of a call whose zygote nobody can look at, by an ordinary user too."""
    body = """
    import time
    def run(payload):
        if payload["memory"]:
            block = bytearray(b"x") * (payload["memory"] << 20)
        open("file", "wb").write(bytes(payload["file"] << 20))
        time.sleep(payload["seconds"])
        return {}
    """
    limits = "{ memory_mb = 96, scratch_mb = 32, wall_seconds = 60 }"
    tool_runner = make_runner(write_plugin(body, limits=limits), layers=older.without("cgroup"))
    call = Call()
    value(tool_runner.run("sample", {"memory": 40, "file": 8, "seconds": 0.5}, call=call))
    assert call.usage.peak_memory_bytes > 48 << 20
    _, error = tool_runner.run("sample", {"memory": 105, "file": 0, "seconds": 60})
    assert error is not None
    assert error["error"]["type"] == "MemoryLimitExceeded"
    assert error["error"]["details"]["limit"]["configured"] == 96
    _, error = tool_runner.run("sample", {"memory": 0, "file": 40, "seconds": 60})
    assert error is not None
    assert error["error"]["type"] == "DiskLimitExceeded"


HIDES = """
import ctypes, os, signal, sys, time
from toolrunner.sandbox.limits import Limits
from toolrunner.sandbox.watch import Watch

reader, writer = os.pipe()
child = os.fork()
if child == 0:
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    os.write(writer, b"x")
    signal.pause()
os.read(reader, 1)
hits = []
watch = Watch(Limits(), lambda: [child], hits.append, lambda: 0, scratch_is_memory=False)

def look():
    time.sleep(0.06)  # a slow measure is due each 50 ms
    if watch.wants_slow_measure():
        watch.measure_slowly()
    watch.sample()
    return len(hits)

before, _ = look(), watch.confined()
print(before, look(), hits[0].name if hits else "")
os.kill(child, signal.SIGKILL)
"""


def test_only_what_a_plugin_hides_is_held_against_it() -> None:
    """A cell that has not shown itself yet is the runner's own doing; after that it is not."""
    prefix = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    command = [*(prefix if os.getuid() == 0 else []), sys.executable, "-P", "-c", HIDES]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout.split() == ["0", "1", "memory_mb"], ended.stderr
