"""What a job waits for whose plugin is suspended: a store knows only who offers to run it."""

from __future__ import annotations

from dataclasses import replace

from toolrunner.runner.jobs.job import Job
from toolrunner.runner.registry.suspensions import Standing, suspended


def waits_for_the_end(job: Job, standing: Standing) -> Job:
    """Return a job that waits for the end of its plugin's suspension."""
    why = suspended(job.plugin, standing.suspended_by, standing.failures)
    return replace(job, waiting_for=f"{job.plugin} to take calls again: it {why}")
