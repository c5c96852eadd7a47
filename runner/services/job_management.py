"""Jobs: storing, running, showing and cancelling them. Below it there are the plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from toolrunner.runner.artifacts import ArtifactInfo
from toolrunner.runner.call import Call
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.jobs.job import Event, Job, JobStatus, Submission
from toolrunner.runner.jobs.store import ArtifactReader, JobStore
from toolrunner.runner.services.plugin_management import PluginManagementService
from toolrunner.runner.tool_runner import MaybeResult, Result

MOST_LISTED = 1000


class NoStoreError(Exception):
    """Jobs are not kept here."""


class JobManagementService:
    """What can be done with jobs. Thread-safe.

    Jobs are shown to their caller alone: whoever asks says who it is, and those of others are as
    if they did not exist.
    """

    def __init__(
        self,
        plugins: PluginManagementService,
        store: JobStore | None = None,
        *,
        on_created: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_created`` is called after a job has been stored.

        Without a ``store``, calls run, but nothing can be left for later: NoStoreError.
        """
        self._plugins = plugins
        self._kept = store
        self._on_created = on_created

    @property
    def _store(self) -> JobStore:
        if self._kept is None:
            message = "no store was given to keep jobs in"
            raise NoStoreError(message)
        return self._kept

    def run_job(
        self, plugin_name: str, payload: Mapping[str, Any], *, call: Call | None = None
    ) -> tuple[MaybeResult, Envelope | None]:
        """Run a call now; return ``(result, None)`` or ``(None, envelope)``. Raises nothing."""
        return self._plugins.execute_plugin(plugin_name, payload, call=call)

    def create_job(self, submission: Submission) -> tuple[Job, bool]:
        """Store a job, and return it and whether it is a new one.

        Raises QueueFullError, and IdempotencyConflictError.
        """
        job, is_new = self._store.add(submission)
        if is_new:
            self._on_created()
        return job, is_new

    def get_job(self, job_id: str, caller: str = "") -> Job | None:
        """Return a job of this caller; ``None`` when there is none."""
        job = self._store.get(job_id)
        return job if job is not None and job.caller == caller else None

    def list_jobs(
        self,
        caller: str = "",
        *,
        status: JobStatus | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[Job]:
        """Return this caller's jobs, the newest first: at most ``limit``, older than ``before``."""
        return self._store.of_caller(
            caller, status=status, limit=min(limit, MOST_LISTED), before=before
        )

    def cancel_job(self, job_id: str, caller: str = "") -> Job | None:
        """Cancel a job of this caller: a running one is killed. ``None`` when there is none."""
        if self.get_job(job_id, caller) is None:
            return None
        return self._store.cancel(job_id)

    def job_result(self, job_id: str) -> Result | None:
        """Return the result of a job that succeeded, ``None`` when it is kept no longer."""
        return self._store.result(job_id)

    def job_artifacts(self, job_id: str) -> list[ArtifactInfo]:
        """Return what artifacts a job that succeeded has brought, in the plugin's order."""
        return self._store.artifacts(job_id)

    def open_artifact(self, job_id: str, name: str) -> ArtifactReader | None:
        """Return one of them to be read; ``None`` when there is none of that name, or no more."""
        return self._store.open_artifact(job_id, name)

    def job_events(self, job_id: str, after: int = 0) -> list[Event]:
        """Return what has happened to a job since the event numbered ``after``."""
        return self._store.events(job_id, after)

    def job_counts(self) -> dict[JobStatus, int]:
        """Return how many jobs of all callers there are of each status."""
        return self._store.counts()
