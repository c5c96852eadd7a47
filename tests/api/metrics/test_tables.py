"""Memory that processes count in: what each adds, what a death leaves, and where room ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable

from toolrunner.api.metrics.recording import Metrics, buried
from toolrunner.api.metrics.tables import Key, Table, Tables
from toolrunner.runner.call import Call
from toolrunner.runner.services.plugin_management import Executed

FORK = multiprocessing.get_context("fork")
ROUNDS = 2000


def killed(work: Callable[[], None]) -> int:
    """Do something in a worker of one's own that is killed then; return its pid."""

    def doing() -> None:
        work()
        os.kill(os.getpid(), signal.SIGKILL)

    process = FORK.Process(target=doing)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert process.pid is not None
    return process.pid


def sums(tables: Tables) -> dict[Key, float]:
    """Return each key's numbers of all tables together."""
    found: dict[Key, float] = {}
    for table in tables.read():
        for key, number in table:
            found[key] = found.get(key, 0.0) + number
    return found


def test_a_killed_worker_leaves_what_it_has_counted() -> None:
    """To the last call; what it had waiting is forgotten, its death and its open requests count."""
    tables = Tables(2)
    Metrics(tables, 1).observe(Executed("sample", "success", 0.25, Call()))

    def work() -> None:
        metrics = Metrics(tables, 0)
        metrics.waiting(7)
        for _ in range(3):
            metrics.begun()
        metrics.ended()
        metrics.observe(Executed("sample", "success", 0.25, Call()))
        metrics.observe(Executed("sample", "PluginCrashed", 3, Call()))

    pid = killed(work)
    assert sums(tables)["toolrunner_waiting",] == 7
    assert buried(tables, pid) == 2
    assert sums(tables) == {
        ("toolrunner_calls", "sample", "success"): 2,
        ("toolrunner_calls", "sample", "PluginCrashed"): 1,
        ("toolrunner_call_seconds", "sample", "0.25"): 2,
        ("toolrunner_call_seconds", "sample", "5"): 1,
        ("toolrunner_call_seconds", "sample", "sum"): 3.5,
        ("toolrunner_waiting",): 0,
        ("toolrunner_worker_restarts",): 1,
        ("toolrunner_http_requests_lost",): 2,
    }


def test_a_crash_loop_takes_no_more_memory() -> None:
    """However many die in one place: there are as many tables as places, and one key a figure."""
    tables = Tables(1)
    for _ in range(20):
        buried(tables, killed(lambda: Metrics(tables).observe(Executed("a", "x", 1, Call()))))
    assert sums(tables)["toolrunner_calls", "a", "x"] == 20
    assert len(tables.read()) == 2
    assert len(list(tables.own.read())) == 5


def test_a_reader_never_sees_a_dead_workers_figures_twice_or_not_at_all() -> None:
    """A counter that goes down for a moment looks to Prometheus like a new server."""
    tables = Tables(1)
    seen: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.append(sums(tables).get(("toolrunner_calls", "a", "x"), 0.0))

    reader = threading.Thread(target=look)
    reader.start()
    for _ in range(ROUNDS):
        Metrics(tables).observe(Executed("a", "x", 1, Call()))
        tables.fold(os.getpid(), lambda key: key[0] != "toolrunner_waiting")
    over.set()
    reader.join()
    assert seen == sorted(seen)
    assert seen[-1] <= ROUNDS
    assert sums(tables)["toolrunner_calls", "a", "x"] == ROUNDS


def test_threads_lose_nothing() -> None:
    """Whether a key is new or not."""
    table = Table()
    table.begin()

    def work() -> None:
        for number in range(ROUNDS):
            table.add(("name", str(number % 50)), 1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(table.read()) == {("name", str(n)): 4 * ROUNDS / 50 for n in range(50)}


def test_what_has_no_room_is_left_out_and_said() -> None:
    """The figures that are there go on."""
    tables = Tables(1, size=4096)
    metrics = Metrics(tables)
    for number in range(100):
        metrics.observe(Executed(f"plugin-{number}", "success", 0.1, Call()))
    metrics.observe(Executed("plugin-0", "success", 0.1, Call()))
    assert sums(tables)["toolrunner_calls", "plugin-0", "success"] == 2
    assert ("toolrunner_calls", "plugin-99", "success") not in sums(tables)
    assert "room" in metrics.problem()


def test_a_table_that_was_written_over_ends_no_reader() -> None:
    """It is memory of ours, but it is shared."""
    table = Table(4096)
    table.begin()
    table.add(("name", "label"), 1)
    table._memory[32:] = b"\xff" * (4096 - 32)
    assert list(table.read()) == []
    table._memory[:8] = b"\xff" * 8
    assert list(table.read()) == []
