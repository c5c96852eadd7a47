"""The services over one runner, for doors that leave no jobs for later."""

from __future__ import annotations

from toolrunner.runner.services.analysis import AnalysisService
from toolrunner.runner.services.job_management import JobManagementService
from toolrunner.runner.services.plugin_management import PluginManagementService
from toolrunner.runner.tool_runner import ToolRunner


def analysis_of(tool_runner: ToolRunner) -> AnalysisService:
    """Return the way that every call takes to a runner."""
    return AnalysisService(JobManagementService(PluginManagementService(tool_runner)))
