"""A ToolRunner in forks of the process that made it, as gunicorn and multiprocessing make them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import multiprocessing
import os
import pickle
import select
import signal
import sqlite3
import subprocess
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call, ToolRunner
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.state.leases import Lease
from toolrunner.sandbox.forks import ForkedError
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.watchdog import children_of

# A process of many threads is forked here on purpose; Python 3.12 and later warns of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

PATIENCE_SECONDS = 40.0
T = TypeVar("T")

GREEDY = """
    def run(payload):
        block = bytearray(payload["mib"] << 20)
        return {"mib": len(block) >> 20}
"""
WAITING = """
    import time

    def run(payload, context):
        context.progress(0.5)
        while payload["wait"]:
            time.sleep(0.01)
        return {}
"""


class Fork:
    """A forked child that calls ``work`` and ends; ``result`` is what that returned."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._source, sink = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self._source)
                try:
                    answer = (True, work())
                except BaseException:  # noqa: BLE001 - the parent raises it
                    answer = (False, traceback.format_exc())
                with open(sink, "wb") as pipe:
                    pipe.write(pickle.dumps(answer))
                status = 0
            finally:
                os._exit(status)
        os.close(sink)

    def result(self) -> Any:
        """Return what the child did; end it when it does not come to an end."""
        answer = bytearray()
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        try:
            while poll.poll(PATIENCE_SECONDS * 1000):
                piece = os.read(self._source, 1 << 16)
                answer += piece
                if not piece:
                    break
            else:
                pytest.fail("the child hangs")
        finally:
            self.end()
        worked, value = pickle.loads(answer)
        assert worked, value
        return value

    def end(self) -> None:
        """End the child, if it has not ended, and reap it."""
        os.close(self._source)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def in_fork(work: Callable[[], T]) -> T:
    """Return what ``work`` returns in a fork of this process."""
    result: T = Fork(work).result()
    return result


def type_of(answer: tuple[Any, Any]) -> str:
    """Return the type of a call's error, or what it returned as text."""
    result, error = answer
    return str(result) if error is None else str(error["error"]["type"])


def boxes() -> set[int]:
    """Return the wardens that this process has."""
    return {child.pid for child in psutil.Process().children() if children_of(child.pid)}


def descriptors() -> dict[int, str]:
    """Return what this process has open, by number."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def bombs_and_calls(tool_runner: ToolRunner) -> list[str]:
    """Run calls at once, every other one over its limit, and close."""
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        answers = threads.map(
            lambda mib: type_of(tool_runner.run("sample", {"mib": mib})), [1, 300] * 3
        )
        found = list(answers)
    tool_runner.close()
    return found


@pytest.mark.parametrize("start", ["auto", "cold"])
def test_workers_that_are_forked_of_a_warm_runner_run_and_close(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """As under ``gunicorn --preload``: limits hold in each worker, and the parent goes on."""
    plugin = write_plugin(GREEDY, limits="{ memory_mb = 128 }", start=f'"{start}"')
    tool_runner = make_runner(plugin, layers=layers)
    tool_runner.warm_up("sample")
    assert type_of(tool_runner.run("sample", {"mib": 1})) == "{'mib': 1}"
    before = boxes()
    workers = [Fork(lambda: bombs_and_calls(tool_runner)) for _ in range(4)]
    for worker in workers:
        assert worker.result() == ["{'mib': 1}", "MemoryLimitExceeded"] * 3
    assert boxes() == before
    assert type_of(tool_runner.run("sample", {"mib": 300})) == "MemoryLimitExceeded"
    assert type_of(tool_runner.run("sample", {"mib": 1})) == "{'mib': 1}"
    status = tool_runner.registry.get_status("sample")
    assert (status.success_count, status.error_count) == (2, 1)  # each process counts its own


def test_a_child_that_never_calls_closes_at_once(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """It has nothing to end, and the parent's box stays."""
    tool_runner = make_runner(write_plugin(GREEDY))
    tool_runner.warm_up("sample")
    before = boxes()
    assert in_fork(tool_runner.close) is None
    assert boxes() == before
    assert type_of(tool_runner.run("sample", {"mib": 1})) == "{'mib': 1}"


def locks_of(owner: object, seen: set[int]) -> Iterator[Any]:
    """Yield every lock and condition that can be reached from one of our objects."""
    if id(owner) in seen:
        return
    seen.add(id(owner))
    if isinstance(owner, threading.Condition | type(threading.Lock()) | type(threading.RLock())):
        yield owner
    elif isinstance(owner, dict):
        for value in owner.values():
            yield from locks_of(value, seen)
    elif isinstance(owner, list | tuple | set) or type(owner).__name__ == "deque":
        for value in owner:  # type: ignore[attr-defined]  # mypy does not know of the deque
            yield from locks_of(value, seen)
    elif isinstance(owner, types.MethodType):
        yield from locks_of(owner.__self__, seen)
    elif type(owner).__module__.startswith("toolrunner"):
        names = [*getattr(owner, "__dict__", ()), *getattr(type(owner), "__slots__", ())]
        for name in set(names) - {"__weakref__"}:
            yield from locks_of(getattr(owner, name, None), seen)


@contextlib.contextmanager
def holding_the_locks_of(owner: object) -> Iterator[int]:
    """Let another thread hold every lock of an object; say how many there are."""
    locks = list(locks_of(owner, set()))
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with contextlib.ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            held.set()
            done.wait(PATIENCE_SECONDS)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(PATIENCE_SECONDS)
    try:
        yield len(locks)
    finally:
        done.set()
        thread.join()


def test_a_child_waits_for_no_lock_of_the_parent(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Every lock that a runner has is held by another thread when the fork happens."""
    plugin = write_plugin(GREEDY, limits="{ memory_mb = 128 }")
    tool_runner = make_runner(plugin)
    tool_runner.warm_up("sample")
    with holding_the_locks_of(tool_runner) as locks:
        assert locks >= 8
        child = Fork(lambda: bombs_and_calls(tool_runner))
    assert child.result() == ["{'mib': 1}", "MemoryLimitExceeded"] * 3


def test_forks_while_calls_run_work_every_time(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Whatever the parent's threads are at just then, warm and cold."""
    warm = write_plugin(GREEDY, name="warm")
    cold = write_plugin(GREEDY, name="cold", start='"cold"')
    tool_runner = make_runner(warm, cold)
    stop = threading.Event()
    found: set[str] = set()

    def call_on(name: str) -> None:
        while not stop.is_set():
            found.add(type_of(tool_runner.run(name, {"mib": 1})))

    threads = [threading.Thread(target=call_on, args=(name,)) for name in ("warm", "warm", "cold")]
    for thread in threads:
        thread.start()

    def once() -> list[str]:
        answers = [type_of(tool_runner.run(name, {"mib": 1})) for name in ("warm", "cold")]
        tool_runner.close()
        return answers

    try:
        for _ in range(4):
            assert in_fork(once) == ["{'mib': 1}"] * 2
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert found == {"{'mib': 1}"}


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


def test_a_call_made_before_a_fork_serves_after_it(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """As long as it has not begun, it can be used, and cancelled, on both sides."""
    tool_runner = make_runner(write_plugin(WAITING))
    call = Call()

    def cancelled() -> str:
        call.cancel()
        return type_of(tool_runner.run("sample", {"wait": True}, call=call))

    assert in_fork(cancelled) == "Cancelled"
    assert type_of(tool_runner.run("sample", {"wait": False}, call=call)) == "{}"


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


_RUNNER: list[ToolRunner] = []  # what a pool's functions find in its processes


def call_in_pool(mib: int) -> str:
    """Run a call with the runner that this process was forked with."""
    return type_of(_RUNNER[0].run("sample", {"mib": mib}))


@pytest.mark.parametrize("pool", ["multiprocessing", "concurrent.futures"])
def test_pools_of_forked_processes_work(
    pool: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """``map`` over processes that inherit the runner, and end without closing it."""
    tool_runner = make_runner(write_plugin(GREEDY, limits="{ memory_mb = 128 }"))
    tool_runner.warm_up("sample")
    fork = multiprocessing.get_context("fork")
    _RUNNER[:] = [tool_runner]
    expected = ["{'mib': 1}", "MemoryLimitExceeded"] * 2
    if pool == "multiprocessing":
        with fork.Pool(2) as workers:
            assert workers.map(call_in_pool, [1, 300] * 2) == expected
            workers.close()
            workers.join()
    else:
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=fork) as executor:
            assert list(executor.map(call_in_pool, [1, 300] * 2)) == expected
    _RUNNER.clear()
    assert type_of(tool_runner.run("sample", {"mib": 1})) == "{'mib': 1}"


def test_arun_works_after_a_fork(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """The threads of the parent's calls are not there; new ones are made."""
    tool_runner = make_runner(write_plugin(GREEDY))

    async def two() -> list[str]:
        answers = await asyncio.gather(
            *(tool_runner.arun("sample", {"mib": mib}) for mib in (1, 2))
        )
        return [type_of(answer) for answer in answers]

    def work() -> list[str]:
        found = asyncio.run(two())
        tool_runner.close()
        return found

    assert asyncio.run(two()) == ["{'mib': 1}", "{'mib': 2}"]
    assert in_fork(work) == ["{'mib': 1}", "{'mib': 2}"]


def test_a_child_finds_out_anew_what_confines_its_calls(make_runner: MakeRunner) -> None:
    """It may have given up the rights of the parent that made the runner."""
    tool_runner = make_runner()
    found = tool_runner.isolation()
    sandbox = tool_runner._sandbox
    assert in_fork(lambda: sandbox._layers) is None
    assert in_fork(tool_runner.isolation) == found


def test_the_boxes_of_two_children_do_not_share_a_user(make_runner: MakeRunner) -> None:
    """Each counts on from a number of its own."""
    shared = make_runner()._sandbox._boxes
    assert in_fork(lambda: next(shared._numbers)) != in_fork(lambda: next(shared._numbers))


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
