"""Whom a warm call may signal where Landlock is too old to say: the warden answers for it."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import PATIENCE_SECONDS, value
from toolrunner import Call
from toolrunner.sandbox.layers import Layers

PLUGIN = r"""
    import ctypes, os, signal, subprocess, sys, threading, time
    libc = ctypes.CDLL(None, use_errno=True)
    at_import = []

    def reached(targets):
        got = []
        for pid in targets:
            for number in (0, signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
                for what, done in (
                    ("process", lambda: libc.kill(pid, number)),
                    ("group", lambda: libc.kill(-pid, number)),
                    ("thread", lambda: libc.tgkill(pid, pid, number)),
                    ("thread of ours", lambda: libc.tgkill(os.getpid(), pid, number)),
                    ("any thread", lambda: libc.syscall(TKILL, pid, number)),
                    ("queue", lambda: libc.sigqueue(pid, number, ctypes.c_void_p())),
                ):
                    if done() == 0:
                        got.append(f"{what} {pid} with {number}")
            try:
                signal.pidfd_send_signal(os.pidfd_open(pid), 0)
                got.append(f"descriptor of {pid}")
            except OSError:
                pass
        if libc.kill(-1, 0) == 0:
            got.append("everybody")
        return got

    TKILL = 200 if os.uname().machine == "x86_64" else 130

    def by_thread(function):
        answers = []
        thread = threading.Thread(target=lambda: answers.append(function()))
        thread.start()
        thread.join()
        return answers[0]

    def run(payload, context):
        if payload["do"] == "wait":
            context.progress(0.5, str(os.getpid()))
            time.sleep(60)
        if payload["do"] == "attack":
            targets = {payload["other"], os.getppid()}
            targets |= {*range(1, payload["below"])} - {os.getpid()}
            got = reached(targets)
            got += by_thread(lambda: reached(targets - {threading.get_native_id()}))
            return {"got": got}
        if payload["do"] == "storm":
            while True:
                os.kill(os.getpid(), 0)
        if payload["do"] == "abort":
            os.abort()
        heard = []
        signal.signal(signal.SIGUSR1, lambda *_: heard.append("usr1"))
        signal.signal(signal.SIGCHLD, lambda *_: heard.append("chld"))
        for sends in (
            lambda: os.kill(os.getpid(), signal.SIGUSR1),
            lambda: os.killpg(0, signal.SIGUSR1),
            lambda: os.killpg(os.getpgid(0), signal.SIGUSR1),
            lambda: signal.raise_signal(signal.SIGUSR1),
            lambda: by_thread(lambda: os.kill(os.getpid(), signal.SIGUSR1)),
            lambda: by_thread(lambda: signal.pthread_kill(
                threading.main_thread().ident, signal.SIGUSR1)),
        ):
            sends()
        ends = []
        command = [sys.executable, "-I", "-S", "-c", "input()"]
        for end in ("kill", "terminate"):
            child = subprocess.Popen(command, stdin=subprocess.PIPE)
            getattr(child, end)()
            ends.append(child.wait())
        errors = []
        for target, number in ((child.pid, 0), (os.getpid(), 99), (4194000, 15)):
            try:
                os.kill(target, number)
            except OSError as error:
                errors.append(error.errno)
        return {"heard": heard.count("usr1"), "child": "chld" in heard, "ends": ends, "e": errors}
"""


@pytest.fixture(params=[1, 2, 5])
def older(request: pytest.FixtureRequest, layers: Layers) -> Layers:
    """The host's layers with a Landlock that knows nothing of signals."""
    assert layers.seccomp_notify, "no seccomp listener: needs Linux 5.13, and none around this one"
    return replace(layers, landlock=min(request.param, layers.landlock))


def test_a_call_reaches_only_its_own_processes(
    older: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Neither another call of its box nor a supervisor, in whatever way it says whom it means."""
    tool_runner = make_runner(write_plugin(PLUGIN), layers=older)
    runs = threading.Event()
    heard = []

    def hear(_fraction: float, message: str) -> None:
        heard.append(message)
        runs.set()

    other = Call(on_progress=hear)
    outcome = []
    thread = threading.Thread(
        target=lambda: outcome.append(tool_runner.run("sample", {"do": "wait"}, call=other))
    )
    thread.start()
    assert runs.wait(PATIENCE_SECONDS)
    call = Call()
    # All there is in a pid namespace of its own.
    below = 60 if "pid" in older.namespaces else 0
    payload = {"do": "attack", "other": int(heard[0]), "below": below}
    assert value(tool_runner.run("sample", payload, call=call)) == {"got": []}
    assert call.isolation.mode == "warm"
    assert "seccomp:notify" in call.isolation.layers
    other.cancel()
    thread.join(PATIENCE_SECONDS)
    [(_, error)] = outcome
    assert error is not None
    assert error["error"]["type"] == "Cancelled"


def test_its_own_are_signalled_as_everywhere(
    older: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Itself, its threads, its group, its children, with the errors that are usual."""
    tool_runner = make_runner(write_plugin(PLUGIN), layers=older)
    for start in ("warm", "warm again"):
        answer = value(tool_runner.run("sample", {"do": start}))
        assert answer == {"heard": 6, "child": True, "ends": [-9, -15], "e": [3, 22, 3]}
    _, error = tool_runner.run("sample", {"do": "abort"})
    assert error is not None
    assert error["error"]["details"]["signal"] == "SIGABRT"


def test_signals_without_end_are_ended(
    older: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Each costs the warden time that is in no account of the call's."""
    tool_runner = make_runner(write_plugin(PLUGIN), layers=older)
    _, error = tool_runner.run("sample", {"do": "storm"})
    assert error is not None
    assert error["error"]["details"]["blame"] == "plugin"
    assert "more than 10000 signals" in error["error"]["message"]
    assert value(tool_runner.run("sample", {"do": "well"}))["heard"] == 6


@pytest.mark.parametrize("target", ["os.getppid()", "-1", "-os.getppid()"])
def test_an_import_reaches_no_supervisor(
    target: str, older: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """What forks the calls runs the plugin's import: the same holds for it."""
    body = f"""
    import os, signal
    denied = 0
    for number in (0, signal.SIGTERM, signal.SIGKILL, signal.SIGCONT):
        try:
            os.kill({target}, number)
        except PermissionError:
            denied += 1

    def run(payload):
        return {{"denied": denied}}
    """
    tool_runner = make_runner(write_plugin(body), layers=older)
    assert value(tool_runner.run("sample", {})) == {"denied": 4}
    assert tool_runner.start("sample").mode == "warm"
