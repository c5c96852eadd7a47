"""Analysis on behalf of a door that waits for the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolrunner.runner.call import Call
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.services.job_management import JobManagementService
from toolrunner.runner.tool_runner import MaybeResult


class AnalysisService:
    """Runs plugins for those who wait. Thread-safe."""

    def __init__(self, jobs: JobManagementService) -> None:
        self._jobs = jobs

    def analyze(
        self, plugin_name: str, payload: Mapping[str, Any], *, call: Call | None = None
    ) -> tuple[MaybeResult, Envelope | None]:
        """Run a plugin once; return ``(result, None)`` or ``(None, envelope)``. Raises nothing."""
        return self._jobs.run_job(plugin_name, payload, call=call)
