"""What keeps jobs. Another store or a queue can take the place of ours by having these methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from toolrunner.runner.artifacts import ArtifactInfo
from toolrunner.runner.jobs.job import Event, Job, JobStatus, Submission
from toolrunner.sandbox.artifacts import Artifact


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this process runs now, and what it is run with."""

    job: Job
    payload: Mapping[str, Any]


class ArtifactReader(Protocol):
    """One artifact, open to be read in pieces, from any thread but one at a time. Close it."""

    info: ArtifactInfo

    def read(self, offset: int, size: int) -> bytes:
        """Return so many bytes from an offset, or as many as there are; raises OSError."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class JobStore(Protocol):
    """Jobs, shared by all processes of a server. Thread-safe; every method is one whole step."""

    def add(self, submission: Submission) -> tuple[Job, bool]:
        """Store a job for good, as PENDING; return it, and whether it is a new one.

        Raises QueueFullError, and IdempotencyConflictError.
        """
        ...

    def get(self, job_id: str) -> Job | None:
        """Return a job, ``None`` when there is none of that id."""
        ...

    def of_caller(
        self, caller: str, *, status: JobStatus | None, limit: int, before: str | None
    ) -> list[Job]:
        """Return a caller's jobs, the newest first; those older than the job ``before``."""
        ...

    def claim(self) -> Claim | None:
        """Take the next pending job and mark it RUNNING; fair between callers and plugins."""
        ...

    def progress(self, claim: Claim, fraction: float, message: str) -> None:
        """Note how far a claimed job has got."""
        ...

    def finish(
        self,
        claim: Claim,
        status: JobStatus,
        *,
        result: dict[str, Any] | None = None,
        artifacts: Sequence[Artifact] = (),
        error: dict[str, Any] | None = None,
    ) -> bool:
        """End a claimed job. ``False`` when it was no longer this process's: nothing changes.

        Its ``artifacts`` are kept with its ``result``, and as long: all of them, or it has not
        ended. Raises OSError, with the folder, when they cannot be.
        """
        ...

    def give_back(self, claim: Claim) -> None:
        """Make a claimed job PENDING again; nothing of this attempt has taken effect."""
        ...

    def cancel(self, job_id: str) -> Job | None:
        """Cancel a pending job at once; ask for the end of a running one. Return it as it is."""
        ...

    def withdrawn(self) -> set[str]:
        """Return the ids of the jobs that this process runs and somebody has cancelled."""
        ...

    def result(self, job_id: str) -> dict[str, Any] | None:
        """Return the result of a job that succeeded, while it is kept."""
        ...

    def artifacts(self, job_id: str) -> list[ArtifactInfo]:
        """Return what artifacts a job that succeeded has brought, while they are kept."""
        ...

    def open_artifact(self, job_id: str, name: str) -> ArtifactReader | None:
        """Return one of them to be read, ``None`` when there is none of that name."""
        ...

    def events(self, job_id: str, after: int) -> list[Event]:
        """Return what has happened to a job since the event numbered ``after``."""
        ...

    def counts(self) -> dict[JobStatus, int]:
        """Return how many jobs there are of each status."""
        ...

    def recover(self, lost: Callable[[Job], dict[str, Any]]) -> int:
        """Take back the jobs of processes that have died; return how many there were.

        Each is PENDING again if its ``retries`` allow it, and else FAILED with the error that
        ``lost`` makes of it.
        """
        ...

    def clean(self) -> int:
        """Delete what is kept no longer: old jobs and all that they brought. Return how many."""
        ...

    def check(self) -> None:
        """Raise OSError when jobs can be neither stored nor read."""
        ...

    def close(self) -> None:
        """Let go of what is open. Nothing is lost."""
        ...
