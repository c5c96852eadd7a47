"""Jobs: storing, running, showing and cancelling them. Below it there are the plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from toolrunner.runner.artifacts import ArtifactInfo
from toolrunner.runner.call import Call
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.errors import CancelledBy
from toolrunner.runner.jobs.job import Event, Job, JobFilter, JobStatus, Submission
from toolrunner.runner.jobs.store import ArtifactReader, JobFigures, JobStore, Unended
from toolrunner.runner.jobs.waiting import waits_for_the_end
from toolrunner.runner.registry.suspensions import Standing, suspended
from toolrunner.runner.services.plugin_management import PluginManagementService
from toolrunner.runner.tool_runner import MaybeResult, Result

MOST_LISTED = 1000
EVERYBODY = None  # in place of a caller: what the operator sees


class NoStoreError(Exception):
    """Jobs are not kept here."""


class JobManagementService:
    """What can be done with jobs. Thread-safe.

    Jobs are shown to their caller alone: whoever asks says who it is, and those of others are as
    if they did not exist. The operator asks for those of EVERYBODY.
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

    def runnable(self) -> dict[str, str]:
        """Return the version of each plugin that could run a job here now."""
        return self._plugins.runnable()

    def unfit(self, plugin_name: str) -> str:
        """Return in words why a plugin that is there may not run here; "" if it may."""
        return self._plugins.unfit(plugin_name)

    def suspended(self, plugin_name: str, version: str | None) -> str:
        """Return in words why jobs for a version of a plugin wait, if it is only suspended.

        "" if it is not, or is not here in that version: then more than a ``resume`` is missing.
        """
        standing = self._standing(plugin_name, version)
        if standing is None:
            return ""
        return suspended(plugin_name, standing.suspended_by, standing.failures)

    def _standing(self, plugin_name: str, version: str | None) -> Standing | None:
        is_here = version in {None, self._plugins.version_of(plugin_name)}
        return self._plugins.refusal(plugin_name) if is_here else None

    def _told(self, job: Job) -> Job:
        """Return a job that waits for what it waits for, as far as that is known here."""
        standing = self._standing(job.plugin, job.version) if job.waiting_for else None
        return job if standing is None else waits_for_the_end(job, standing)

    def takes(self, plugin_name: str) -> bool:
        """Whether a job of a plugin can be left: it is known here, or somebody alive runs it."""
        return self._is_known(plugin_name) or bool(self._store.offered(plugin_name))

    def _is_known(self, plugin_name: str) -> bool:
        return self._plugins.get_plugin(plugin_name) is not None

    def _version_for(self, plugin_name: str) -> str | None:
        """Return for which version a job is that does not say: ``None`` where any will do.

        That of the plugin as it is known here; of one that others alone have, theirs, if they
        agree. Of a plugin that has none, whichever there is will do.
        """
        if self._is_known(plugin_name):
            return self._plugins.version_of(plugin_name) or None
        offered = self._store.offered(plugin_name)
        return (offered.pop() or None) if len(offered) == 1 else None

    def create_job(self, submission: Submission) -> tuple[Job, bool]:
        """Store a job, and return it and whether it is a new one.

        It is for the version of the plugin that is known, if it does not ask for another.
        Raises QueueFullError, and IdempotencyConflictError.
        """
        if submission.version is None:
            submission = replace(submission, version=self._version_for(submission.plugin))
        job, is_new = self._store.add(submission)
        if is_new:
            self._on_created()
        return self._told(job), is_new

    def get_job(self, job_id: str, caller: str | None = "") -> Job | None:
        """Return a job of this caller; ``None`` when there is none."""
        job = self._store.get(job_id)
        job = job if job is not None and caller in {EVERYBODY, job.caller} else None
        return None if job is None else self._told(job)

    def list_jobs(
        self,
        caller: str | None = "",
        *,
        status: JobStatus | None = None,
        plugin: str | None = None,
        is_dead: bool | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[Job]:
        """Return this caller's jobs, the newest first: at most ``limit``, older than ``before``."""
        which = JobFilter(caller, status, plugin, is_dead=is_dead)
        found = self._store.listed(which, limit=min(limit, MOST_LISTED), before=before)
        return [self._told(job) for job in found]

    def rename_callers(self, names: Mapping[str, str]) -> None:
        """Give the jobs of callers that have another name now to that name."""
        self._store.rename_callers(names)

    def cancel_job(
        self, job_id: str, caller: str | None = "", *, by: CancelledBy = CancelledBy.CALLER
    ) -> Job | None:
        """Cancel a job of this caller: a running one is killed. ``None`` when there is none.

        ``by``: who does, where that is not whose job it is.
        """
        if self.get_job(job_id, caller) is None:
            return None
        return self._store.cancel(job_id, by)

    def retry_job(self, job_id: str, caller: str | None = "") -> Job | None:
        """Run a dead job of this caller again. ``None`` when there is none.

        Raises NotDeadError for one that is not dead, and QueueFullError.
        """
        job = self.get_job(job_id, caller)
        retried = None if job is None else self._store.retry(job.id)
        self._on_created()
        return None if retried is None else self._told(retried)

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

    def following(self, job_id: str, heard: Callable[[], None]) -> AbstractContextManager[float]:
        """Call ``heard`` when something may have happened to a job, while the block lasts.

        It yields the seconds after which to look without having been called; see ``JobStore``.
        """
        return self._store.following(job_id, heard)

    def job_counts(self) -> dict[JobStatus, int]:
        """Return how many jobs of all callers there are of each status."""
        return self._store.counts()

    def unended_jobs(self) -> Unended:
        """Return how many jobs of all callers wait and run."""
        return self._store.unended()

    def job_figures(self) -> JobFigures:
        """Return what else there is to tell of the jobs of all callers."""
        return self._store.figures()
