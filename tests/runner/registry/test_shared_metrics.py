"""Counts that several processes share: sums, what a death leaves, and what a broken file costs."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

import toolrunner.runner.registry.shared_metrics
from tests.conftest import MakeRunner, WritePlugin
from toolrunner import PluginRegistry
from toolrunner.runner.registry.plugin_state import AVERAGED_CALLS, PluginStatus
from toolrunner.runner.registry.shared_metrics import SharedMetrics
from toolrunner.runner.state.leases import Lease

FORK = multiprocessing.get_context("fork")
OpenRegistry = Callable[[], PluginRegistry]


@pytest.fixture
def open_registry(tmp_path: Path) -> Iterator[OpenRegistry]:
    """Return a function that makes a registry as another process over the same folder has it."""
    with ExitStack() as stack:

        def open_one() -> PluginRegistry:
            lease = Lease(tmp_path / "state" / "workers")
            stack.callback(lease.close)
            metrics = SharedMetrics(tmp_path / "state", lease)
            stack.callback(metrics.close)
            registry = PluginRegistry()
            registry.register("sample", "a plugin", "1.0.0")
            registry.share(metrics)
            return registry

        yield open_one


def shown(registry: PluginRegistry) -> PluginStatus:
    """Return what is shown of the plugin."""
    status = registry.get_status("sample")
    assert status is not None
    [listed] = registry.list_all()
    assert replace(listed, uptime_seconds=status.uptime_seconds) == status
    return status


def call(registry: PluginRegistry, state: str, elapsed_ms: int, *, had_error: bool) -> None:
    """Count one call in and out."""
    registry.mark_running("sample")
    registry.update_execution_metrics("sample", state, elapsed_ms, had_error)


def test_each_shows_the_calls_of_all(open_registry: OpenRegistry) -> None:
    """Counts are sums, and the last call, wherever it was, decides on the rest."""
    one, other = open_registry(), open_registry()
    call(one, "INITIALIZED", 10, had_error=False)
    call(other, "FAILED", 30, had_error=True)
    for registry in (one, other):
        status = shown(registry)
        assert (status.success_count, status.error_count, status.in_flight) == (1, 1, 0)
        assert status.state == "FAILED"
        assert (status.last_execution_time_ms, status.avg_execution_time_ms) == (30, 20.0)
        assert status.last_used is not None
        assert status.last_used.utcoffset() is not None


def test_a_call_in_flight_is_seen_everywhere(open_registry: OpenRegistry) -> None:
    """RUNNING while any process runs one."""
    one, other = open_registry(), open_registry()
    one.mark_running("sample")
    other.mark_running("sample")
    assert (shown(other).state, shown(other).in_flight) == ("RUNNING", 2)
    one.update_execution_metrics("sample", "INITIALIZED", 1, False)
    assert (shown(one).state, shown(one).in_flight) == ("RUNNING", 1)
    other.update_execution_metrics("sample", "INITIALIZED", 1, False)
    assert (shown(one).state, shown(one).in_flight) == ("INITIALIZED", 0)


def test_the_average_is_of_the_last_calls(open_registry: OpenRegistry) -> None:
    """As many as one registry of its own would take."""
    one, other = open_registry(), open_registry()
    call(one, "INITIALIZED", 1000, had_error=False)
    for number in range(AVERAGED_CALLS):
        call((one, other)[number % 2], "INITIALIZED", number, had_error=False)
    assert shown(one).avg_execution_time_ms == sum(range(AVERAGED_CALLS)) / AVERAGED_CALLS
    assert shown(one).success_count == AVERAGED_CALLS + 1


def test_counts_outlive_their_processes(tmp_path: Path, open_registry: OpenRegistry) -> None:
    """A killed process leaves its counts, and nothing in flight."""

    def call_and_die() -> None:
        registry = PluginRegistry()
        registry.register("sample")
        registry.share(SharedMetrics(tmp_path / "state", Lease(tmp_path / "state" / "workers")))
        call(registry, "INITIALIZED", 7, had_error=False)
        registry.mark_running("sample")
        os.kill(os.getpid(), signal.SIGKILL)

    process = FORK.Process(target=call_and_die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    status = shown(open_registry())
    assert (status.success_count, status.in_flight, status.state) == (1, 0, "INITIALIZED")
    assert status.last_execution_time_ms == 7


def test_many_processes_at_once_lose_no_count(tmp_path: Path, open_registry: OpenRegistry) -> None:
    """Four that count as fast as they can."""

    def work() -> None:
        registry = PluginRegistry()
        registry.register("sample")
        registry.share(SharedMetrics(tmp_path / "state", Lease(tmp_path / "state" / "workers")))
        for _ in range(50):
            call(registry, "INITIALIZED", 1, had_error=False)

    processes = [FORK.Process(target=work) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert (shown(open_registry()).success_count, shown(open_registry()).in_flight) == (200, 0)


def test_an_unavailable_plugin_stays_so(open_registry: OpenRegistry) -> None:
    """Whether a plugin can run is each process's own to know; its counts are all the same."""
    one, other = open_registry(), open_registry()
    call(one, "INITIALIZED", 1, had_error=False)
    other.mark_unavailable("sample", "not here")
    assert (shown(other).state, shown(other).success_count) == ("UNAVAILABLE", 1)
    assert shown(one).state == "INITIALIZED"


def test_a_call_is_counted_through_tool_runner(
    tmp_path: Path, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """A real call ends in the shared counts, once."""
    path = write_plugin("def run(payload): return {}")
    with closing(Lease(tmp_path / "state" / "workers")) as lease:
        with closing(SharedMetrics(tmp_path / "state", lease)) as metrics:
            tool_runner = make_runner(path)
            tool_runner.registry.share(metrics)
            tool_runner.run("sample", {})
        with closing(SharedMetrics(tmp_path / "state", lease)) as metrics:
            registry = PluginRegistry()
            registry.register("sample")
            registry.share(metrics)
            assert shown(registry).success_count == 1


@pytest.mark.parametrize("harm", ["locked", "emptied of its tables"])
def test_a_file_that_cannot_be_written_costs_no_call(
    harm: str,
    tmp_path: Path,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each call is answered and counted; the log says what is wrong once, and when it is over."""
    monkeypatch.setattr(toolrunner.runner.registry.shared_metrics, "_BUSY_SECONDS", 0.01)
    path = write_plugin("def run(payload): return {'fine': True}")
    with closing(Lease(tmp_path / "state" / "workers")) as lease:
        metrics = SharedMetrics(tmp_path / "state", lease)
        tool_runner = make_runner(path)
        tool_runner.registry.share(metrics)
        file = tmp_path / "state" / "metrics.sqlite3"
        with closing(sqlite3.connect(file, isolation_level=None)) as intruder:
            if harm == "locked":
                intruder.execute("BEGIN IMMEDIATE")
            else:
                intruder.executescript("DROP TABLE plugins; DROP TABLE times; DROP TABLE running;")
            with caplog.at_level(logging.WARNING, "toolrunner.registry"):
                for _ in range(3):
                    assert tool_runner.run("sample", {}) == ({"fine": True}, None)
                if harm == "locked":
                    assert "end what holds it" in metrics.problem()
                    assert caplog.text.count("the counts are kept") == 1
                    intruder.execute("ROLLBACK")
                assert metrics.problem() == ""
        assert "can be used again" in caplog.text
        assert "Traceback" not in caplog.text
        status = tool_runner.registry.get_status("sample")
        assert (status.success_count, status.in_flight) == (3, 0)
        metrics.close()


def rubbish(file: Path) -> None:
    """Be no database at all."""
    file.write_bytes(b"\xff" * 8192)


def cut(file: Path) -> None:
    """Be what a file system has left of a file."""
    os.truncate(file, 4096)


def folder(file: Path) -> None:
    """Be no file."""
    file.unlink()
    (file / "deep").mkdir(parents=True)


@pytest.mark.parametrize("harm", [rubbish, cut, folder])
def test_a_file_of_no_use_is_set_aside(
    harm: Callable[[Path], None],
    tmp_path: Path,
    open_registry: OpenRegistry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Counts begin anew, for all processes in one file; what there was is kept, and told of."""
    file, aside = (tmp_path / "state" / n for n in ("metrics.sqlite3", "metrics.sqlite3.broken"))
    with closing(Lease(tmp_path / "state" / "workers")) as lease:
        SharedMetrics(tmp_path / "state", lease).close()
    harm(file)
    one, other = open_registry(), open_registry()
    for registry in (one, other):
        call(registry, "INITIALIZED", 1, had_error=False)
    assert (shown(one).success_count, shown(other).success_count) == (2, 2)
    assert aside.exists()
    assert caplog.text.count("it is set aside as metrics.sqlite3.broken") == 1
    lease = Lease(tmp_path / "state" / "workers")
    with closing(lease), closing(SharedMetrics(tmp_path / "state", lease)) as metrics:
        assert f"set aside as {aside}" in metrics.set_aside()
        assert "delete that file" in metrics.set_aside()
        assert metrics.problem() == ""
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
        assert metrics.set_aside() == ""


def test_a_file_that_breaks_under_a_process_is_set_aside_by_it(
    tmp_path: Path, open_registry: OpenRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """While it counts; the others go over to the new file, and none counts in the old one."""
    one, other = open_registry(), open_registry()
    for registry in (one, other):
        call(registry, "INITIALIZED", 1, had_error=False)
    file = tmp_path / "state" / "metrics.sqlite3"
    for path in (file, Path(f"{file}-wal")):
        path.write_bytes(b"\xff" * path.stat().st_size)
    for registry in (one, other, one, other):
        call(registry, "INITIALIZED", 1, had_error=False)
    assert Path(f"{file}.broken").exists()
    assert caplog.text.count("it is set aside") == 1
    later = open_registry()
    assert shown(one).success_count == shown(other).success_count == shown(later).success_count
    assert shown(later).success_count >= 3


def test_a_file_that_is_there_again_is_used(
    tmp_path: Path, open_registry: OpenRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """One of a newer version is left alone, and each process shows its own counts meanwhile."""
    file = tmp_path / "state" / "metrics.sqlite3"
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA user_version = 99")
    one, other = open_registry(), open_registry()
    call(one, "INITIALIZED", 1, had_error=False)
    assert (shown(one).success_count, shown(other).success_count) == (1, 0)
    assert "written by another version of toolrunner" in caplog.text
    assert "Traceback" not in caplog.text
    file.unlink()
    spin_until(lambda: shown(other).success_count == 1, one)
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT successes FROM plugins").fetchall() == [(1,)]


def spin_until(holds: Callable[[], bool], registry: PluginRegistry) -> None:
    """Wait for what is tried again once a second; a look at the registry writes what waits."""
    never = threading.Event()
    for _ in range(1000):
        shown(registry)
        if holds():
            return
        never.wait(0.05)
    pytest.fail("it never came so far")


def test_a_reason_is_seen_everywhere_and_outlives_its_process(open_registry: OpenRegistry) -> None:
    """With the state that it explains, and no longer than that."""
    one, other = open_registry(), open_registry()
    one.note_fault("sample", "PluginCrashed: SIGSEGV")
    call(one, "FAILED", 1, had_error=True)
    for registry in (one, other, open_registry()):
        assert (shown(registry).state, shown(registry).reason) == (
            "FAILED",
            "PluginCrashed: SIGSEGV",
        )
    call(other, "INITIALIZED", 1, had_error=False)
    for registry in (one, other, open_registry()):
        assert (shown(registry).state, shown(registry).reason) == ("INITIALIZED", "")


def test_marks_are_seen_everywhere_and_count_as_no_call(open_registry: OpenRegistry) -> None:
    """A load that failed ahead of any call is news for the other processes, too."""
    one, other = open_registry(), open_registry()
    one.mark_failed("sample", "PluginLoadError: no model")
    status = shown(other)
    assert (status.state, status.reason) == ("FAILED", "PluginLoadError: no model")
    assert (status.error_count, status.last_used, status.last_execution_time_ms) == (0, None, None)
    other.mark_initialized("sample")
    assert (shown(one).state, shown(one).reason) == ("INITIALIZED", "")


def test_a_callers_fault_in_one_process_hides_no_failure_in_another(
    open_registry: OpenRegistry,
) -> None:
    """It counts as an error, and says nothing of the plugin, wherever that has failed."""
    one, other = open_registry(), open_registry()
    one.note_fault("sample", "PluginCrashed: SIGSEGV")
    call(one, "FAILED", 1, had_error=True)
    call(other, other.settled_state("sample"), 1, had_error=True)
    for registry in (one, other):
        status = shown(registry)
        assert (status.state, status.reason) == ("FAILED", "PluginCrashed: SIGSEGV")
        assert status.error_count == 2
