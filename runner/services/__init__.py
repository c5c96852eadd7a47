"""The layers between a door and ToolRunner, each of which only delegates to the one below it.

``AnalysisService`` → ``JobManagementService`` → ``PluginManagementService`` → ``ToolRunner``.
"""

from toolrunner.runner.services.analysis import AnalysisService
from toolrunner.runner.services.job_management import JobManagementService
from toolrunner.runner.services.plugin_management import PluginManagementService

__all__ = ["AnalysisService", "JobManagementService", "PluginManagementService"]
