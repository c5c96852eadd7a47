"""What keeps jobs. Another store or a queue can take the place of ours by having these methods."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from toolrunner.runner.artifacts import ArtifactInfo
from toolrunner.runner.errors import CancelledBy
from toolrunner.runner.jobs.job import Event, Job, JobFilter, JobStatus, Submission
from toolrunner.sandbox.artifacts import Artifact


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this process has now. ``number`` tells this claim from others of the job."""

    job: Job
    number: int

    @property
    def mark(self) -> str:
        """What tells it from all other claims, as one word."""
        return f"{self.job.id}:{self.number}"


@dataclass(frozen=True, slots=True)
class Stranded:
    """So many jobs wait for a plugin in a version, or in any, that no living process can run."""

    plugin: str
    version: str | None
    jobs: int


class NotKeptError(Exception):
    """What a job has brought could not be written; the message says where and why."""

    def __init__(self, message: str, *, remedy: str = "make room there") -> None:
        """``remedy``: what is to be done before another try."""
        super().__init__(message)
        self.remedy = remedy


class UnreadableError(Exception):
    """What a job is to be run with is not there any more, or is damaged."""


class StoreError(OSError):
    """Jobs can be neither stored nor read now. Its words say why, and what to do about it."""

    def __str__(self) -> str:
        """Return the words, without errno's number."""
        return str(self.strerror or super().__str__())


@dataclass(frozen=True, slots=True)
class JobFigures:
    """How many have ever ended, by their status, and how long the oldest has waited that waits.

    ``oldest_stranded_seconds`` is of those that no living process can run, and the other of all
    else; while none runs anything, it is of all, since any that starts may.
    """

    ended: dict[JobStatus, int]
    oldest_pending_seconds: float
    oldest_stranded_seconds: float


@dataclass(frozen=True, slots=True)
class Unended:
    """How many jobs wait, and run, and how long the oldest has waited that waits; 0 if none."""

    pending: int
    running: int
    oldest_pending_seconds: float


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
    """Jobs, shared by all processes of a server. Thread-safe; every method is one whole step.

    Each raises StoreError while it cannot do it; then nothing has changed.

    Whoever waits for another process does not ask again and again: he is called. Who is called may
    neither wait nor raise, and looks; it may be for nothing.
    """

    @property
    def tick_seconds(self) -> float:
        """After how long whoever takes jobs looks without having been called."""
        ...

    def listen(self, heard: Callable[[], None]) -> None:
        """Call ``heard`` when there may be a job to take, or one of this process's withdrawn.

        Until the store is closed. Raises NoThreadError.
        """
        ...

    def following(self, job_id: str, heard: Callable[[], None]) -> AbstractContextManager[float]:
        """Call ``heard`` when something may have happened to a job, while the block lasts.

        It yields the seconds after which to look without having been called. What has happened
        before the block nobody is called for. Raises NoThreadError.
        """
        ...

    def add(self, submission: Submission) -> tuple[Job, bool]:
        """Store a job for good, as PENDING; return it, and whether it is a new one.

        Raises QueueFullError, TooLargeError among them, and IdempotencyConflictError.
        """
        ...

    def get(self, job_id: str) -> Job | None:
        """Return a job, ``None`` when there is none of that id."""
        ...

    def listed(self, which: JobFilter, *, limit: int, before: str | None) -> list[Job]:
        """Return jobs, the newest first; those older than the job ``before``."""
        ...

    def rename_callers(self, names: Mapping[str, str]) -> None:
        """Give the jobs of callers that have another name now to that name."""
        ...

    def claim(self, runnable: Mapping[str, str]) -> Claim | None:
        """Take the next pending job and mark it RUNNING; fair between callers and plugins.

        ``runnable``: the version of each plugin that this process can run. It takes no other job,
        and those that no living process can run say so in ``waiting_for``.
        """
        ...

    def offered(self, plugin: str) -> set[str]:
        """Return in which versions living processes run a plugin; of one without any, ""."""
        ...

    def stranded(self) -> list[Stranded]:
        """Return what waits and nobody can run: to one of the processes, and nothing to others."""
        ...

    def all_stranded(self) -> list[Stranded]:
        """Return what waits and nobody can run, to whoever asks."""
        ...

    def payload(self, claim: Claim) -> Mapping[str, Any]:
        """Return what a claimed job is run with.

        Raises UnreadableError for one that is lost, and OSError where it cannot be read now.
        """
        ...

    def begin(self, claim: Claim) -> bool:
        """Note that the call of a claimed job begins; ``False`` when it was no longer this claim's.

        What has not begun may be lost without costing an attempt.
        """
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
        ended. Raises NotKeptError when they cannot be.
        """
        ...

    def give_back(self, claim: Claim) -> None:
        """Make a claimed job PENDING again that has *not* begun."""
        ...

    def abandon(self, claim: Claim, error: dict[str, Any]) -> None:
        """Give up a claimed job that has begun: its attempt is lost.

        It is PENDING again if its ``retries`` allow that, and else FAILED with ``error``.
        """
        ...

    def cancel(self, job_id: str, by: CancelledBy = CancelledBy.CALLER) -> Job | None:
        """Cancel a pending job at once; ask for the end of a running one. Return it as it is.

        ``by``: who does; of a job that has been cancelled already, who did first.
        """
        ...

    def retry(self, job_id: str) -> Job | None:
        """Make a dead job PENDING again; return it, ``None`` when there is none of that id.

        Raises NotDeadError, and QueueFullError.
        """
        ...

    def purge(self, job_ids: Sequence[str]) -> int:
        """Delete those that have ended, with all that is kept of them; return how many."""
        ...

    def withdrawn(self) -> dict[str, CancelledBy]:
        """Return the ids of the jobs that this process runs and somebody has cancelled; who."""
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

    def unended(self) -> Unended:
        """Return how many jobs wait and run: what can be told without a look at all others."""
        ...

    def figures(self) -> JobFigures:
        """Return what there is to tell of the jobs of all callers."""
        ...

    def recover(self, lost: Callable[[Job], dict[str, Any]]) -> int:
        """Take back the jobs of processes that have died; return how many there were.

        Each is PENDING again if it had not begun or its ``retries`` allow it, and else FAILED with
        the error that ``lost`` makes of it.
        """
        ...

    def take_back_unknown(
        self, known: Collection[Claim], lost: Callable[[Job], dict[str, Any]]
    ) -> int:
        """Take back what is RUNNING by this process beside the claims that it knows; how many.

        As ``recover`` does. So an answer of the store that was lost, or a copy of it that was put
        back, leaves no job that nobody ends. By whoever claims, so that no claim is under way.
        """
        ...

    def clean(self) -> int:
        """Delete some of what is kept no longer: old jobs and all that they brought; how many.

        So many that nobody waits long meanwhile: there may be more, until it returns 0.
        Raises OSError for files that cannot be deleted; their jobs are gone.
        """
        ...

    def check(self) -> None:
        """Raise StoreError when jobs can be neither stored nor read, or some were lost."""
        ...

    def refused(self) -> str:
        """Return why jobs were refused here in the last minute, and none stored since; "" else.

        For want of what this store needs, as of room on its disk, which ``check`` may not see.
        """
        ...

    def close(self) -> None:
        """Let go of what is open. Nothing is lost."""
        ...
