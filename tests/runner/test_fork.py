"""A runner that was made before a fork works in each child, with boxes and threads of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import threading

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.runner.forking import (
    GREEDY,
    WAITING,
    Fork,
    boxes,
    holding_the_locks_of,
    in_fork,
    type_of,
)
from tests.sandbox.boxes import wait_until
from toolrunner import Call, ToolRunner
from toolrunner.sandbox.layers import Layers

# A process of many threads is forked here on purpose; Python 3.12 and later warns of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
_RUNNER: list[ToolRunner] = []  # what a pool's functions find in its processes


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
    # One whose call has been answered ends by itself.
    warm = 1 if start == "auto" else 0
    wait_until(lambda: len(boxes()) == warm, "only the warm box is left")
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
    """Nor with their parent, whatever it holds: an ordinary user has but one, itself."""
    users = make_runner()._sandbox._boxes._users

    def ask_for_the_same(stack: contextlib.ExitStack) -> list[int | None]:
        users._numbers = itertools.count()
        return [users.take(stack) for _ in range(3)]

    with contextlib.ExitStack() as stack:
        held = ask_for_the_same(stack)
        childs = in_fork(lambda: ask_for_the_same(contextlib.ExitStack()))
        still_held = ask_for_the_same(stack)
    if os.geteuid() == 0:
        assert not set(held) & {*childs, *still_held}
    else:
        assert held == childs == still_held == [None] * 3
