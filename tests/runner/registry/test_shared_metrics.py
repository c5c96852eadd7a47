"""Counts that several processes share: sums, what a death leaves, and what a broken file costs."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sqlite3
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


@pytest.mark.parametrize("harm", ["locked", "broken"])
def test_a_file_that_cannot_be_written_costs_no_call(
    harm: str,
    tmp_path: Path,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The call is answered, and the log says what is missing."""
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
            with caplog.at_level(logging.ERROR, "toolrunner.registry"):
                assert tool_runner.run("sample", {}) == ({"fine": True}, None)
                status = tool_runner.registry.get_status("sample")
        assert "the counts are kept" in caplog.text
        assert status is not None
        if harm == "broken":
            assert "this process shows its own" in caplog.text
            assert status.success_count == 1
        metrics.close()


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
