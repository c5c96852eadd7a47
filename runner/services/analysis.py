"""Where every call of a plugin comes in: from a door that waits, or as a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolrunner.runner.call import Call
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.jobs.job import Job, Submission
from toolrunner.runner.services.job_management import JobManagementService
from toolrunner.runner.tool_runner import MaybeResult


class AnalysisService:
    """Runs plugins for those who wait, and takes jobs of those who do not. Thread-safe."""

    def __init__(self, jobs: JobManagementService) -> None:
        self._jobs = jobs

    def analyze(
        self, plugin_name: str, payload: Mapping[str, Any], *, call: Call | None = None
    ) -> tuple[MaybeResult, Envelope | None]:
        """Run a plugin once; return ``(result, None)`` or ``(None, envelope)``. Raises nothing.

        The artifacts of a call that succeeds are with ``call``.
        """
        return self._jobs.run_job(plugin_name, payload, call=call)

    def runnable(self) -> dict[str, str]:
        """Return the version of each plugin that ``analyze`` could run now."""
        return self._jobs.runnable()

    def unfit(self, plugin_name: str) -> str:
        """Return in words why a plugin that is there may not run here; "" if it may."""
        return self._jobs.unfit(plugin_name)

    def suspended(self, plugin_name: str, version: str | None) -> str:
        """Return in words why jobs for a version of a plugin wait, if it is only suspended."""
        return self._jobs.suspended(plugin_name, version)

    def submit(self, submission: Submission) -> tuple[Job, bool]:
        """Leave a call for later; return its job and whether it is a new one.

        The job is run by ``analyze`` when there is room. Raises QueueFullError, and
        IdempotencyConflictError.
        """
        return self._jobs.create_job(submission)
