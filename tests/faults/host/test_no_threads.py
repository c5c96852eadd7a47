"""Hosts on which no thread can be started any more, before a call or while it runs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.api.http.conftest import spin
from tests.faults.host.conftest import Books, error_of, no_threads
from tests.faults.host.test_no_descriptors import no_descriptors
from toolrunner.sandbox.ending import HOST_MEANS, LimitHit
from toolrunner.sandbox.limits import Limits
from toolrunner.sandbox.watch import Watch
from toolrunner.sandbox.watchdog import Watchdog

GOOD = ({"fine": True}, None)
FINE = "def run(payload): return {'fine': True}"
HOARDS = """
import time
def run(payload):
    if payload.get("hoard"):
        memory = bytearray(b"x") * (100 << 20)
        time.sleep(60)
    return {"fine": True}
"""
MEASURER = "toolrunner-measurer"


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process that does nothing."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    """One of its own."""
    made = Watchdog()
    yield made
    made.close()


def watch_of(members: Callable[[], list[int]], hits: list[LimitHit]) -> Watch:
    """Return a watch of a call without a cgroup, which is measured slowly now and then."""
    watch = Watch(Limits(), members, hits.append, lambda: 0, scratch_is_memory=False)
    watch.confined()
    return watch


def test_calls_are_measured_by_the_threads_that_there_are(watchdog: Watchdog, sleeper: int) -> None:
    """Several at once, each exactly; and no plugin is blamed for what the host lacks."""
    hits: list[LimitHit] = []
    measured = [threading.Event() for _ in range(4)]

    def members_of(event: threading.Event) -> Callable[[], list[int]]:
        def members() -> list[int]:
            if threading.current_thread().name.startswith(MEASURER):
                event.set()
            return [sleeper]

        return members

    watches = [watch_of(members_of(event), hits) for event in measured]
    watchdog.add(watches[0])
    with no_threads():
        for watch in watches[1:]:
            watchdog.add(watch)
        assert all(event.wait(120) for event in measured)
    assert hits == []


def test_what_cannot_be_measured_for_want_of_descriptors_is_the_hosts_fault(
    watchdog: Watchdog,
) -> None:
    """The call ends all the same."""
    hits: list[LimitHit] = []
    over = threading.Event()

    def members() -> list[int]:
        try:
            return [len(os.listdir("/proc/self/fd"))]
        finally:
            over.set()

    watch = watch_of(members, hits)
    with no_descriptors():
        watchdog.add(watch)
        assert over.wait(120)
        spin(lambda: hits)
    assert {hit.name for hit in hits} == {HOST_MEANS}


def test_a_call_that_nothing_can_watch_does_not_run(watchdog: Watchdog, sleeper: int) -> None:
    """It is refused, and the next one is watched."""
    hits: list[LimitHit] = []
    watch = watch_of(lambda: [sleeper] * (Limits().processes + 1), hits)
    with no_threads(), pytest.raises(OSError, match="no thread can be started"):
        watchdog.add(watch)
    watchdog.add(watch)
    spin(lambda: hits)
    assert hits[0].name == "processes"


@pytest.mark.parametrize("start", ["auto", "cold", "resident"])
def test_no_threads_are_the_hosts_fault(start: str, keep_books: Callable[..., Books]) -> None:
    """With what to do; afterwards all is well, and calls are watched."""
    books = keep_books(HOARDS, start=f'"{start}"', limits="{ memory_mb = 96 }")
    with no_threads():
        error = error_of(books.call())
    assert (error["type"], error["details"]["blame"]) == ("SandboxError", "host")
    assert error["details"]["retryable"]
    assert "no thread can be started" in error["message"]
    assert error["details"]["remedy"] in error["message"]
    assert books.call() == GOOD
    with no_threads():
        result, envelope = books.call()
    assert envelope is None or envelope["error"]["details"]["blame"] == "host"
    assert (result is None) == (envelope is not None)
    assert books.call() == GOOD
    assert error_of(books.call(hoard=True))["type"] == "MemoryLimitExceeded"


def test_a_call_without_a_thread_is_counted_and_not_run_later(
    keep_books: Callable[..., Books],
) -> None:
    """An event loop's: it is refused at once, and nobody finds it in a queue."""
    books = keep_books(FINE)
    with no_threads():
        answer = asyncio.run(books.tool_runner.arun("sample", {}))
    books.calls += 1
    assert error_of(answer)["type"] == "SandboxError"
    assert asyncio.run(books.tool_runner.arun("sample", {})) == GOOD
    books.calls += 1
    status = books.tool_runner.registry.get_status("sample")
    assert status is not None
    assert (status.success_count, status.error_count) == (1, 1)
