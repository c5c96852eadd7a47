"""The services add nothing and lose nothing: what ToolRunner is asked and says, as it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from toolrunner import Call, PluginRegistry, ToolRunner
from toolrunner.runner.artifacts import info_of
from toolrunner.runner.errors import ErrorType, build_error_envelope
from toolrunner.runner.jobs.dispatcher import JobDispatcher
from toolrunner.runner.jobs.job import JobStatus, Submission
from toolrunner.runner.jobs.sqlite_store import SqliteJobStore
from toolrunner.runner.jobs.store import ArtifactReader
from toolrunner.runner.services import (
    AnalysisService,
    JobManagementService,
    PluginManagementService,
)
from toolrunner.runner.services.plugin_management import Executed
from toolrunner.runner.state.leases import Lease
from toolrunner.sandbox.artifacts import Artifact

Answer = tuple[dict[str, Any] | None, dict[str, Any] | None]


def failed(kind: ErrorType) -> dict[str, Any]:
    """Return an envelope of a type."""
    envelope = build_error_envelope(
        kind,
        "m",
        plugin="sample",
        call_id="0" * 32,
        details={"log_tail": "what it printed"},
        traceback="a long story",
    )
    return cast("dict[str, Any]", envelope)


FAILED = failed(ErrorType.EXECUTION_ERROR)
ANSWERS: list[Answer] = [
    ({"a": 1}, None),
    ({}, None),
    *((None, failed(kind)) for kind in ErrorType),
]


class Answering:
    """Stands where ToolRunner does: notes what it is asked, and gives one answer."""

    def __init__(self, answer: Answer, *artifacts: Artifact) -> None:
        self.artifacts = artifacts
        self.registry = PluginRegistry()
        self.registry.register("sample")
        self.answer = answer
        self.asked: list[tuple[str, Mapping[str, Any], Call | None, int]] = []

    def run(
        self, plugin_name: str, payload: Mapping[str, Any], *, call: Call | None = None
    ) -> Answer:
        """Note and answer."""
        self.asked.append((plugin_name, payload, call, threading.get_ident()))
        if call is not None:
            call.artifacts = self.artifacts
        return self.answer

    def runnable(self) -> dict[str, str]:
        """Say that all that is known may run."""
        return self.registry.runnable()

    def unfit(self, _plugin_name: str) -> str:
        """Say the same of one."""
        return ""


class Stage:
    """The real services and a real store, over such a one."""

    def __init__(self, folder: Path, below: Answering | None = None) -> None:
        self.heard: list[Executed] = []
        self.told: list[None] = []
        self.below = below or Answering(({"a": 1}, None))
        self.lease = Lease(folder / "workers")
        self.store = SqliteJobStore(
            folder, self.lease, max_pending=10, keep_seconds=3600, keep_bytes=1 << 20
        )
        plugins = PluginManagementService(
            cast("ToolRunner", self.below), observer=self.heard.append
        )
        self.jobs = JobManagementService(
            plugins, self.store, on_created=lambda: self.told.append(None)
        )
        self.analysis = AnalysisService(self.jobs)

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()
        self.lease.close()


def opened(stage: Stage, job_id: str, name: str) -> ArtifactReader:
    """Return an artifact that has to be there."""
    found = stage.jobs.open_artifact(job_id, name)
    assert found is not None
    return found


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """One stage."""
    made = Stage(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("payload", [{}, {"options": {"n": 1}, "image": b"x"}])
def test_a_call_goes_down_and_its_answer_comes_up_unchanged(
    answer: Answer, payload: dict[str, Any], stage: Stage
) -> None:
    """The very same objects, once for each time somebody asks, in the thread that asked."""
    stage.below.answer = answer
    outcome = answer[1]["error"]["type"] if answer[1] else "success"
    before = stage.below.registry.get_status("sample")
    for number in (1, 2):
        call = Call()
        result, error = stage.analysis.analyze("sample", payload, call=call)
        assert result is answer[0]
        assert error is answer[1]
        assert len(stage.below.asked) == len(stage.heard) == number
        name, given, handle, thread = stage.below.asked[-1]
        assert (name, thread) == ("sample", threading.get_ident())
        assert given is payload
        assert handle is call
        assert stage.heard[-1].call is call
        assert stage.heard[-1].outcome == outcome
    # What a call makes of its plugin is ToolRunner's to say.
    after = stage.below.registry.get_status("sample")
    assert after == replace(before, uptime_seconds=after.uptime_seconds)


def test_a_job_is_left_and_not_run(stage: Stage) -> None:
    """Stored once, under its caller's name, and whoever runs jobs is told."""
    job, is_new = stage.analysis.submit(Submission("sample", {"n": 1}, "me"))
    assert (is_new, job.status, job.plugin) == (True, JobStatus.PENDING, "sample")
    assert (len(stage.told), stage.below.asked) == (1, [])
    assert [one.id for one in stage.jobs.list_jobs("me")] == [job.id]
    again, is_new = stage.analysis.submit(Submission("sample", {"n": 1}, "me", 0, "key"))
    same, is_another = stage.analysis.submit(Submission("sample", {"n": 1}, "me", 0, "key"))
    assert (again.id, is_new, is_another, len(stage.told)) == (same.id, True, False, 2)


def test_a_job_is_its_callers_alone(stage: Stage) -> None:
    """Others neither see nor cancel it."""
    job, _ = stage.analysis.submit(Submission("sample", {}, "me"))
    assert stage.jobs.get_job(job.id, "you") is None
    assert stage.jobs.list_jobs("you") == []
    assert stage.jobs.cancel_job(job.id, "you") is None
    kept = stage.jobs.get_job(job.id, "me")
    assert kept is not None
    assert kept.status is JobStatus.PENDING
    cancelled = stage.jobs.cancel_job(job.id, "me")
    assert cancelled is not None
    assert cancelled.status is JobStatus.CANCELLED


@pytest.mark.parametrize(
    ("answer", "status"),
    [(({"a": 1}, None), JobStatus.SUCCESS), ((None, FAILED), JobStatus.FAILED)],
)
def test_a_job_runs_by_the_way_of_every_call(
    answer: Answer, status: JobStatus, stage: Stage
) -> None:
    """Once, through AnalysisService; its result or its error is what came of it."""
    stage.below.answer = answer
    stage.below.artifacts = (made := Artifact("a.txt", "text/plain", b"x"),)
    job, _ = stage.analysis.submit(Submission("sample", {"n": 1}, "me"))
    dispatcher = JobDispatcher(stage.store, stage.analysis, threads=1)
    dispatcher.start()
    while not (ended := stage.store.get(job.id)) or not ended.status.has_ended:
        dispatcher.wake()
    dispatcher.drain(10)
    assert ended.status is status
    assert [(name, given) for name, given, _, _ in stage.below.asked] == [("sample", {"n": 1})]
    assert [(one.plugin, one.call.call_id) for one in stage.heard] == [("sample", job.id)]
    assert stage.jobs.job_result(job.id) == answer[0]
    kept = stage.jobs.job_artifacts(job.id)
    assert kept == ([info_of(made)] if status is JobStatus.SUCCESS else [])
    for info in kept:
        with closing(opened(stage, job.id, info.name)) as artifact:
            assert artifact.read(0, info.size_bytes) == made.data
    assert (ended.error is None) == (answer[1] is None)


def test_a_job_that_fails_ends_with_what_its_caller_may_see(stage: Stage) -> None:
    """Never a success, whatever the error: its public half, without what the plugin printed."""
    dispatcher = JobDispatcher(stage.store, stage.analysis, threads=1)
    dispatcher.start()
    for kind in [one for one in ErrorType if one is not ErrorType.OVERLOADED]:  # that one waits
        envelope = failed(kind)
        stage.below.answer = None, envelope
        job, _ = stage.analysis.submit(Submission("sample", {"n": 1}, "me"))
        while not (ended := stage.store.get(job.id)) or not ended.status.has_ended:
            dispatcher.wake()
        is_cancelled = kind is ErrorType.CANCELLED
        assert ended.status is (JobStatus.CANCELLED if is_cancelled else JobStatus.FAILED)
        error = envelope["error"]
        del error["details"]["log_tail"]
        assert ended.error == error
        assert stage.jobs.job_result(job.id) is None
    dispatcher.drain(10)
