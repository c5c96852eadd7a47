"""The backend of one server process: what it shares with others, and how it begins and ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WritePlugin
from toolrunner.runner.jobs.job import JobStatus, Submission
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.services.plugin_management import Executed
from toolrunner.runner.settings.settings import Settings

MakeBackend = Callable[..., Backend]


@pytest.fixture
def make_backend(tmp_path: Path, write_plugin: WritePlugin) -> Iterator[MakeBackend]:
    """Return a function that makes a backend as another process over the same state has it."""
    path = write_plugin("def run(payload): return {'n': payload.get('n')}")
    with ExitStack() as stack:

        def make(**keys: Any) -> Backend:
            settings = Settings.load(state=tmp_path / "state", **keys)
            return stack.enter_context(Backend(settings, plugin_paths=[str(path)]))

        yield make


def ended(backend: Backend, job_id: str) -> JobStatus:
    """Return how a job has ended."""
    never = threading.Event()
    for _ in range(12_000):
        job = backend.jobs.get_job(job_id)
        assert job is not None
        if job.status.has_ended:
            return job.status
        never.wait(0.01)
    pytest.fail("it did not end")


def test_it_runs_what_any_of_them_has_stored(make_backend: MakeBackend) -> None:
    """A job goes to whoever serves, and everybody sees its result and its count."""
    door, worker = make_backend(), make_backend()
    worker.start()
    job, is_new = door.analysis.submit(Submission("sample", {"n": 3}))
    assert is_new
    assert ended(door, job.id) is JobStatus.SUCCESS
    assert door.jobs.job_result(job.id) == {"n": 3}
    status = door.plugins.get_plugin("sample")
    assert status is not None
    assert status.success_count == 1


def test_analysis_is_answered_and_counted_together(make_backend: MakeBackend) -> None:
    """Two processes, one count."""
    one, other = make_backend(), make_backend()
    assert one.analysis.analyze("sample", {"n": 1}) == ({"n": 1}, None)
    assert other.analysis.analyze("sample", {"n": 2}) == ({"n": 2}, None)
    for backend in (one, other):
        [status] = [s for s in backend.plugins.list_plugins() if s.name == "sample"]
        assert status.success_count == 2


def test_counts_and_jobs_are_there_after_a_restart(make_backend: MakeBackend) -> None:
    """Nothing that was answered or stored is forgotten."""
    first = make_backend()
    first.analysis.analyze("sample", {})
    job, _ = first.analysis.submit(Submission("sample", {"n": 1}))
    first.close()
    second = make_backend()
    status = second.plugins.get_plugin("sample")
    assert status is not None
    assert status.success_count == 1
    second.start()
    assert ended(second, job.id) is JobStatus.SUCCESS


def test_its_observer_hears_of_jobs_and_calls_alike(
    tmp_path: Path, write_plugin: WritePlugin
) -> None:
    """Every call, whichever way it came."""
    heard: list[Executed] = []
    path = write_plugin("def run(payload): return {}")
    settings = Settings.load(state=tmp_path / "state")
    with Backend(settings, plugin_paths=[str(path)], observer=heard.append) as backend:
        backend.start()
        backend.analysis.analyze("sample", {})
        job, _ = backend.analysis.submit(Submission("sample", {}))
        ended(backend, job.id)
    assert [(one.plugin, one.outcome) for one in heard] == [("sample", "success")] * 2


def test_it_is_ready_where_calls_may_run_and_jobs_be_stored(make_backend: MakeBackend) -> None:
    """And it says what confines the calls."""
    backend = make_backend()
    assert backend.not_ready() == []
    assert "seccomp" in backend.isolation_layers()
    assert backend.waiting() == 0


def test_it_is_not_ready_when_jobs_cannot_be_stored(
    make_backend: MakeBackend, tmp_path: Path
) -> None:
    """The reason names the store."""
    backend = make_backend()
    for file in (tmp_path / "state").glob("jobs.sqlite3*"):
        file.write_bytes(b"\xff" * file.stat().st_size)
    [reason] = backend.not_ready()
    assert "job store" in reason


def test_a_state_folder_that_cannot_be_used_is_an_os_error(tmp_path: Path) -> None:
    """A file in its place."""
    (tmp_path / "state").write_text("")
    with pytest.raises(OSError, match="state"):
        Backend(Settings.load(state=tmp_path / "state"))
