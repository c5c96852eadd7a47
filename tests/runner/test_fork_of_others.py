"""What is the parent's stays the parent's: its calls, boxes, descriptors, files and leases."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import subprocess
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.runner.forking import (
    GREEDY,
    PATIENCE_SECONDS,
    WAITING,
    Fork,
    boxes,
    descriptors,
    holding_the_locks_of,
    in_fork,
    type_of,
)
from toolrunner import Call, ToolRunner
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.state.leases import Lease
from toolrunner.sandbox.forks import ForkedError
from toolrunner.sandbox.layers import Layers

# A process of many threads is forked here on purpose; Python 3.12 and later warns of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def start_waiting(tool_runner: ToolRunner) -> tuple[threading.Thread, Call, list[str]]:
    """Start a call that waits for ever; return once it runs."""
    heard = threading.Event()
    call = Call(on_progress=lambda _fraction, _message: heard.set())
    answers: list[str] = []
    thread = threading.Thread(
        target=lambda: answers.append(type_of(tool_runner.run("sample", {"wait": True}, call=call)))
    )
    thread.start()
    assert heard.wait(PATIENCE_SECONDS)
    return thread, call, answers


@pytest.mark.parametrize("start", ["auto", "cold"])
def test_a_child_has_no_descriptor_of_the_parents_boxes(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Neither of boxes nor of the call that runs: they would keep a box from its end."""
    before = descriptors()
    tool_runner = make_runner(write_plugin(WAITING, start=f'"{start}"'))
    tool_runner.run("sample", {"wait": False})
    thread, call, answers = start_waiting(tool_runner)
    assert len(descriptors()) > len(before)

    def left() -> dict[int, str]:
        return {n: what for n, what in descriptors().items() if before.get(n) != what}

    found = in_fork(left)
    call.cancel()
    thread.join()
    assert answers == ["Cancelled"]
    # What the watchdog was reading in that moment keeps nothing from its end.
    found = {n: what for n, what in found.items() if not what.startswith(("/proc/", "/sys/"))}
    # The pipe that the answer is sent through is the only new one.
    assert len(found) == 1, found


def test_a_call_in_flight_is_the_parents_alone(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """A child can neither cancel it nor end it by closing, and says the first."""
    tool_runner = make_runner(write_plugin(WAITING))
    thread, call, answers = start_waiting(tool_runner)

    def meddle() -> tuple[str, int]:
        with pytest.raises(ForkedError, match="cancel it there"):
            call.cancel()
        again = type_of(tool_runner.run("sample", {"wait": False}, call=call))
        running = tool_runner.registry.get_status("sample").in_flight
        tool_runner.close()
        return again, running

    assert in_fork(meddle) == ("ValidationError", 0)
    assert tool_runner.registry.get_status("sample").in_flight == 1
    assert thread.is_alive()
    call.cancel()
    thread.join()
    assert answers == ["Cancelled"]


@pytest.mark.parametrize("start", ["auto", "cold"])
def test_a_fork_in_the_middle_of_a_call_leaves_the_call_to_the_parent(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Made by what hears its progress: in the child the call is over at once, and says why."""
    tool_runner = make_runner(write_plugin(WAITING, start=f'"{start}"'))
    me = os.getpid()
    source, sink = os.pipe()
    told: list[str] = []
    wardens: list[set[int]] = []

    def fork(_fraction: float, _message: str) -> None:
        wardens.append(boxes())
        with holding_the_locks_of(tool_runner):
            pid = os.fork()
            if pid == 0:
                return
        os.close(sink)
        with open(source) as pipe:
            told.append(pipe.read())
        os.waitpid(pid, 0)
        wardens.append(boxes())
        call.cancel()

    call = Call(on_progress=fork)
    answer = tool_runner.run("sample", {"wait": True}, call=call)
    if os.getpid() != me:
        try:
            os.write(sink, str(answer).encode())
        finally:
            os._exit(0)
    assert "SandboxError" in told[0]
    assert "forked in the middle of the call" in told[0]
    assert len(wardens[0]) == 1
    assert wardens[1] == wardens[0]  # it has not ended the box
    assert type_of(answer) == "Cancelled"


def test_the_parents_boxes_end_with_it_and_not_with_its_forks(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """A parent that is killed takes its boxes along, though a fork of it lives on."""
    plugin = write_plugin(GREEDY)
    told, tell = os.pipe()
    wait_for, wake = os.pipe()

    def parent() -> None:
        tool_runner = make_runner(plugin, layers=layers)
        tool_runner.warm_up("sample")
        worker = os.fork()
        if worker == 0:
            os.close(wake)
            os.read(wait_for, 1)  # lives until the test lets go
            os._exit(0)
        os.write(tell, pickle.dumps((worker, boxes())))
        signal.pause()

    child = Fork(parent)
    worker, wardens = pickle.loads(os.read(told, 1 << 16))
    processes = [psutil.Process(pid) for pid in wardens]
    assert processes
    child.end()
    assert psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)[1] == []
    assert psutil.Process(worker).is_running()
    for descriptor in (told, tell, wait_for, wake):
        os.close(descriptor)


def test_a_worker_that_is_told_to_end_ends_with_its_boxes(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """SIGTERM, while a call runs in it."""
    tool_runner = make_runner(write_plugin(WAITING))
    tool_runner.warm_up("sample")
    told, tell = os.pipe()

    def work() -> None:
        start_waiting(tool_runner)
        os.write(tell, pickle.dumps(boxes()))
        signal.pause()

    child = Fork(work)
    processes = [psutil.Process(pid) for pid in pickle.loads(os.read(told, 1 << 16))]
    os.kill(child.pid, signal.SIGTERM)
    gone, left = psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)
    assert (len(gone), left) == (1, [])
    child.end()
    for descriptor in (told, tell):
        os.close(descriptor)
    assert type_of(tool_runner.run("sample", {"wait": False})) == "{}"


def test_no_fork_comes_between_a_launcher_and_its_descriptors(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of them in a child would keep the parent waiting for the launcher's start."""
    children: list[Fork] = []
    forking = threading.Thread(target=lambda: children.append(Fork(lambda: None)))
    real = subprocess.Popen
    was_held_off: list[bool] = []

    def popen(*arguments: Any, **options: Any) -> Any:
        if not was_held_off:
            forking.start()
            forking.join(0.3)
            was_held_off.append(forking.is_alive())
        return real(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    make_runner().isolation()
    forking.join()
    assert was_held_off == [True]
    assert children[0].result() is None


def test_a_backend_refuses_to_work_in_a_fork(tmp_path: Path) -> None:
    """Calls, jobs, counts and readiness, whatever is held just then; the parent's goes on."""
    with Backend(Settings.load(state=tmp_path / "state")) as backend:
        tool_runner = backend.plugins._tool_runner
        shared = tool_runner.registry._shared
        assert shared is not None

        def refused() -> tuple[str, list[str]]:
            _result, error = backend.plugins.execute_plugin("text-stats", {"text": "x"})
            assert error is not None
            with pytest.raises(ForkedError, match="make one in each process"):
                backend.start()
            with pytest.raises(sqlite3.ProgrammingError, match="opened before a fork"):
                backend.jobs.job_counts()
            own = backend.plugins.list_plugins()
            assert shared.applied(own) == own  # it says in the log that it cannot be read
            backend.drain(0)
            backend.close()
            return error["error"]["message"], backend.not_ready()

        with holding_the_locks_of(backend) as locks:
            assert locks >= 8
            child = Fork(refused)
        message, not_ready = child.result()
        assert "make one in each process, after it" in message
        assert not_ready == [message]
        assert backend.not_ready() == []
        result, _error = backend.plugins.execute_plugin("text-stats", {"text": "x"})
        assert result is not None
        assert backend.plugins.list_plugins()[-1].success_count == 1


def test_a_lease_does_not_live_on_in_a_fork(tmp_path: Path) -> None:
    """It would keep the jobs of a dead process from being taken back."""
    told, tell = os.pipe()
    wait_for, wake = os.pipe()

    def parent() -> None:
        lease = Lease(tmp_path)
        if os.fork() == 0:
            os.close(wake)
            os.write(tell, lease.name.encode())  # the fork has let go of what it has to
            os.read(wait_for, 1)
            os._exit(0)
        signal.pause()

    child = Fork(parent)
    name = os.read(told, 100).decode()
    mine = Lease(tmp_path)
    assert not mine.is_dead(name)
    child.end()
    assert mine.is_dead(name)
    mine.close()
    for descriptor in (told, tell, wait_for, wake):
        os.close(descriptor)
