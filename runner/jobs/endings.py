"""What a job ends with that its call does not say: the errors of the way there and back."""

from __future__ import annotations

from typing import Any

from toolrunner.runner.call import Call
from toolrunner.runner.envelope import GovernedErrorBody
from toolrunner.runner.errors import Blame, ErrorType, build_error_envelope
from toolrunner.runner.jobs.job import Job
from toolrunner.runner.jobs.store import NotKeptError, UnreadableError
from toolrunner.sandbox.ending import Isolation

# What says of a call that it has not begun, wherever it was refused.
_REFUSALS = frozenset(
    {ErrorType.OVERLOADED, ErrorType.PLUGIN_NOT_FOUND, ErrorType.PLUGIN_UNAVAILABLE}
)


def was_refused(error: GovernedErrorBody) -> bool:
    """Whether a call was turned away before it began: it may be tried again by whoever can."""
    return error["type"] in _REFUSALS


def is_of_the_host(error: GovernedErrorBody) -> bool:
    """Whether the host has ended a call, by what is neither the caller's nor the plugin's."""
    return error["details"]["blame"] == Blame.HOST


def has_begun(call: Call) -> bool:
    """Whether a call that has ended had been more than waiting for its place."""
    return call.isolation != Isolation()


def for_the_caller(error: GovernedErrorBody) -> dict[str, Any]:
    """Return what of an error may be kept for the caller."""
    return {**error, "details": {k: v for k, v in error["details"].items() if k != "log_tail"}}


def call_id(job: Job) -> str:
    """Return a call's id: the job's own for its first attempt, so that both are found as one."""
    return job.id if job.attempts == 1 else f"{job.id[:-4]}{job.attempts:04x}"


def lost(job: Job) -> dict[str, Any]:
    """Return the error of a job whose server has died with it."""
    return _of_the_host(
        job,
        f"the process that ran the job ended, in attempt {job.attempts}; its retries ("
        f"{job.retries}) do not allow another one: {_again(job)}",
    )


def unheard(job: Job) -> dict[str, Any]:
    """Return the error of a job whose end its own server has no way to know."""
    return _of_the_host(
        job,
        "the job store was away, or a copy of it was put back, when the job ended in attempt"
        f" {job.attempts}; its retries ({job.retries}) do not allow another one: {_again(job)}",
    )


def stopped(job: Job) -> dict[str, Any]:
    """Return the error of a job that ran for longer than its server's end could wait."""
    return _of_the_host(
        job,
        f"the server was stopped while the job ran, in attempt {job.attempts}, and drain_seconds"
        f" were over; its retries ({job.retries}) do not allow another one: {_again(job)}",
    )


def buggy(job: Job, bug: BaseException) -> dict[str, Any]:
    """Return the error of a job that met a bug of ours."""
    return _of_a_bug(
        job, f"{type(bug).__name__} on the way of the job itself; the log has the traceback"
    )


def unreadable(job: Job, error: UnreadableError) -> dict[str, Any]:
    """Return the error of a job whose payload is lost."""
    return _of_the_host(job, str(error))


def damaged(job: Job, damage: str) -> dict[str, Any]:
    """Return the error of a job whose row nobody can use as it is."""
    return _of_the_host(
        job, f"the job's row in the job store is damaged ({damage}): leave a new job in its place"
    )


def not_kept(job: Job, failed: NotKeptError) -> dict[str, Any]:
    """Return the error of a job whose result could not be written."""
    return _of_the_host(
        job,
        f"the call has ended, but its result could not be kept in {failed}; {failed.remedy}, and"
        f" {_again(job)}",
    )


def _again(job: Job) -> str:
    return f"POST /v1/jobs/{job.id}/retry, or `toolrunner jobs retry {job.id}`, runs it again"


def _of_a_bug(job: Job, message: str) -> dict[str, Any]:
    return _error(ErrorType.INTERNAL_ERROR, job, message)


def _of_the_host(job: Job, message: str) -> dict[str, Any]:
    return _error(ErrorType.SANDBOX_ERROR, job, message)


def _error(kind: ErrorType, job: Job, message: str) -> dict[str, Any]:
    envelope = build_error_envelope(kind, message, plugin=job.plugin, call_id=call_id(job))
    return for_the_caller(envelope["error"])
