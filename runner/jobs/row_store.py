"""What every store of jobs does that has their rows in a database, and their files beside it.

Each step of a transaction is a function of the dialect's own modules, which are given as they are:
``adding`` and ``operating``. What the stores differ in is theirs: how they are opened, who takes
jobs, and which processes are dead.
"""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Generic, Protocol, TypeVar

from toolrunner.runner.artifacts import ArtifactInfo
from toolrunner.runner.errors import CancelledBy
from toolrunner.runner.jobs import endings
from toolrunner.runner.jobs.artifacts import KeptArtifact
from toolrunner.runner.jobs.chosen import DEAD, KEPT
from toolrunner.runner.jobs.files import JobFiles
from toolrunner.runner.jobs.job import Job, JobFilter, JobStatus, NotDeadError, Submission
from toolrunner.runner.jobs.rows import DamagedError, Row, job_of
from toolrunner.runner.jobs.rules import (
    MOST_AT_ONCE,
    Bounds,
    Room,
    in_parts,
    is_callers_fault,
    why_not_dead,
)
from toolrunner.runner.jobs.store import Claim, StoreError
from toolrunner.runner.trouble import Trouble
from toolrunner.sandbox.artifacts import Artifact

_LOG = logging.getLogger("toolrunner.jobs")

_MOST_DAMAGED = 10_000
# For so long a refusal is told of: who asks again has been told a time within it.
_REFUSED_SECONDS = 60.0
# A connection to the database, in a transaction: as a step takes it, and as a store has it.
Given_contra = TypeVar("Given_contra", contravariant=True)
C = TypeVar("C")
Lost = tuple[Row, JobStatus]  # whose attempt was lost, and what it is now


class Adding(Protocol[Given_contra]):
    """The steps by which a submission becomes a job, in one dialect."""

    def known(self, database: Given_contra, submission: Submission, mark: str, /) -> Job | None:
        """Return the job that this submission is a repetition of."""

    def check_room(
        self, database: Given_contra, room: Room, caller: str, payload_bytes: int, /
    ) -> None:
        """Raise QueueFullError if no such job may wait beside those that do."""


class Operating(Protocol[Given_contra]):
    """The steps of an operator, and of what is kept no longer, in one dialect."""

    def listed(
        self, database: Given_contra, which: JobFilter, /, *, limit: int, before: str | None
    ) -> list[Job]:
        """Return jobs, the newest first; those older than the job ``before``."""

    def bury(self, database: Given_contra, job_id: str, payload_bytes: int, /) -> None:
        """Let a job that has failed be dead."""

    def let_rest(self, database: Given_contra, job_ids: Sequence[str], /) -> list[str]:
        """Let some be dead no more; return the ids of those that were."""

    def too_much(self, database: Given_contra, which: str, weight: str, most: int, /) -> list[str]:
        """Return the ids of those of such jobs that go, since all weigh more than ``most``."""

    def forget_old(
        self, database: Given_contra, keep_seconds: float, at_once: int, /
    ) -> Sequence[Row]:
        """Delete so many of those that ended too long ago; return what ``purge`` does."""

    def purge(self, database: Given_contra, job_ids: Sequence[str], /) -> Sequence[Row]:
        """Delete those that have ended; return the ``id`` and ``attempts`` of each."""


class RowStore(ABC, Generic[C]):
    """Jobs in a database; see ``JobStore`` for what each method does."""

    def __init__(
        self, files: JobFiles, bounds: Bounds, adding: Adding[C], operating: Operating[C]
    ) -> None:
        """Keep files beside the rows, and jobs within bounds."""
        self._files = files
        self._bounds: Bounds = {
            "max_pending_bytes": sys.maxsize,
            "keep_dead": 0,
            "keep_dead_bytes": 0,
            **bounds,
        }
        self._room = Room(self._bounds["max_pending"], self._bounds["max_pending_bytes"])
        self._adding_steps = adding
        self._operating = operating
        # What is still to go, of what was found to be too large together.
        self._large: list[str] = []
        # Of whose damage the log has been told.
        self._damaged: dict[str, None] = {}
        self._adding = Trouble(
            _LOG, StoreError, "jobs are refused", "jobs are stored again: the job store works"
        )

    @abstractmethod
    def _reading(self) -> AbstractContextManager[C]:
        """Hold a connection to look at jobs."""

    @abstractmethod
    def _writing(self) -> AbstractContextManager[C]:
        """Hold a connection in a transaction that changes jobs."""

    @abstractmethod
    def _aside(self) -> AbstractContextManager[C]:
        """Hold a connection for a look that takes long, and holds up nobody."""

    @abstractmethod
    def _alone(self) -> AbstractContextManager[C]:
        """Hold a connection in a transaction of one job.

        Raises DamagedError where its row's values allow no such step.
        """

    @abstractmethod
    def _set_aside(self, database: C, row: Row, error: dict[str, Any]) -> None:
        """End a job that has not ended as FAILED, with values that all steps can use."""

    @abstractmethod
    def _row(self, database: C, job_id: str) -> Row | None:
        """Return a job's row."""

    @abstractmethod
    def _row_to_change(self, database: C, job_id: str) -> Row | None:
        """Return a job's row, which nobody else changes before this transaction ends."""

    @abstractmethod
    def _attempt_of(self, database: C, job_id: str) -> int | None:
        """Return which claim of a job has succeeded, ``None`` when none has."""

    @abstractmethod
    def _end(
        self,
        database: C,
        claim: Claim,
        status: JobStatus,
        *,
        error: dict[str, Any] | None,
        result_bytes: int,
    ) -> bool:
        """End a job, if it is still this claim's."""

    @abstractmethod
    def _abandon(self, database: C, claim: Claim, error: dict[str, Any]) -> Lost | None:
        """Give up a job that has begun; return it with what it is now, if it was this claim's."""

    @abstractmethod
    def _withdraw(self, database: C, job_id: str, by: CancelledBy) -> bool:
        """Cancel a job: at once if it is waiting, which is returned."""

    @abstractmethod
    def _revive(self, database: C, row: Row) -> None:
        """Make a dead job PENDING again."""

    def _let_go(self, claim: Claim) -> None:
        """Note that this process runs a claim no more."""

    def _may_clean(self, database: C) -> bool:  # noqa: ARG002 - whoever shares a database asks it
        """Whether this process may delete what is kept no longer, until this transaction ends."""
        return True

    def get(self, job_id: str) -> Job | None:
        with self._reading() as database:
            row = self._row(database, job_id)
        return None if row is None else self._told(job_of(row))

    def _is_known(self, job_id: str) -> bool:
        return self.get(job_id) is not None

    def _told(self, job: Job) -> Job:
        """Say once in the log that a job's row is damaged, if it is."""
        if job.damage:
            self._tell_damage(job.id, job.damage)
        return job

    def _tell_damage(self, job_id: str, damage: str) -> None:
        if job_id not in self._damaged:
            self._damaged[job_id] = None
            while len(self._damaged) > _MOST_DAMAGED:
                del self._damaged[next(iter(self._damaged))]
            _LOG.error("job %s is set aside, as its row is damaged: %s", job_id, damage)

    @contextmanager
    def _of_one(self, job_id: str) -> Iterator[C]:
        """Hold a connection in a transaction of one job, that changes it or sets it aside.

        What was to be known after a step has to be told before it: it may come to nothing.
        """
        try:
            with self._alone() as database:
                yield database
        except DamagedError as damage:
            with self._writing() as database:
                row = self._row_to_change(database, job_id)
                if row is not None:
                    self._put_aside(database, row, str(damage))
            with suppress(OSError):
                self._files.drop_payload(job_id)

    def _put_aside(self, database: C, row: Row, damage: str) -> None:
        """End a job whose row is damaged, if it has not ended, and say so."""
        if row["ended"] is None:
            self._set_aside(database, row, endings.damaged(job_of(row), damage))
            self._tell_damage(row["id"], damage)

    def _same(
        self, database: C, submission: Submission, mark: str, payload_bytes: int
    ) -> Job | None:
        """Return the job that this submission is a repetition of, or make sure of its room."""
        same = self._adding_steps.known(database, submission, mark)
        if same is None:
            self._adding_steps.check_room(database, self._room, submission.caller, payload_bytes)
        return same

    def refused(self) -> str:
        return self._adding.lately(_REFUSED_SECONDS)

    def listed(self, which: JobFilter, *, limit: int, before: str | None) -> list[Job]:
        with self._reading() as database:
            found = self._operating.listed(database, which, limit=limit, before=before)
        return [self._told(job) for job in found]

    def payload(self, claim: Claim) -> Mapping[str, Any]:
        return self._files.kept_payload(claim.job.id)

    def finish(
        self,
        claim: Claim,
        status: JobStatus,
        *,
        result: dict[str, Any] | None = None,
        artifacts: Sequence[Artifact] = (),
        error: dict[str, Any] | None = None,
    ) -> bool:
        job = claim.job
        size = 0
        if result is not None:
            size = self._files.keep_result(job.id, claim.number, result, artifacts)
        has_ended = is_dead = False
        with self._of_one(job.id) as database:
            has_ended = self._end(database, claim, status, error=error, result_bytes=size)
            is_dead = has_ended and self._bury(database, job.id, status, error)
        self._let_go(claim)
        if not has_ended:
            with suppress(OSError):
                self._files.drop_result(job.id, claim.number)
            return False
        if not is_dead:
            with suppress(OSError):  # it has ended; what is left goes with it
                self._files.drop_payload(job.id)
        return True

    def _bury(
        self, database: C, job_id: str, status: JobStatus, error: dict[str, Any] | None = None
    ) -> bool:
        """Let a job that has failed be dead, if another try may do better; whether it is."""
        can_be = status is JobStatus.FAILED and self._bounds["keep_dead"]
        if not can_be or is_callers_fault(error):
            return False
        size = self._files.payload_bytes(job_id)
        if size is None:
            return False
        self._operating.bury(database, job_id, size)
        return True

    def abandon(self, claim: Claim, error: dict[str, Any]) -> None:
        taken: list[Lost] = []
        dead: set[str] = set()
        with self._of_one(claim.job.id) as database:
            lost = self._abandon(database, claim, error)
            taken = [] if lost is None else [lost]
            dead = self._bury_lost(database, taken)
        self._let_go(claim)
        self._clear(taken, dead)

    def _bury_lost(self, database: C, taken: Sequence[Lost]) -> set[str]:
        return {row["id"] for row, status in taken if self._bury(database, row["id"], status)}

    def _clear(self, taken: Sequence[Lost], dead: set[str]) -> None:
        """Delete the files of attempts that were lost; those that cannot be are strays later."""
        for row, status in taken:
            with suppress(OSError):
                # It may have died between its files and the word that it has ended.
                self._files.drop_result(row["id"], row["attempts"])
                if status.has_ended and row["id"] not in dead:
                    self._files.drop_payload(row["id"])

    def cancel(self, job_id: str, by: CancelledBy = CancelledBy.CALLER) -> Job | None:
        has_ended = False
        with self._of_one(job_id) as database:
            has_ended = self._withdraw(database, job_id, by)
            row = self._row(database, job_id)
            if row is not None and (damage := job_of(row).damage):
                self._put_aside(database, row, damage)
        with self._reading() as database:
            now = self._row(database, job_id)
        if has_ended:
            with suppress(OSError):
                self._files.drop_payload(job_id)
        return None if now is None else job_of(now)

    def retry(self, job_id: str) -> Job | None:
        try:
            with self._alone() as database:
                return self._retried(database, job_id)
        except DamagedError as damage:
            message = f"the row of the job is damaged ({damage}): leave a new one"
            raise NotDeadError(message) from damage

    def _retried(self, database: C, job_id: str) -> Job | None:
        row = self._row_to_change(database, job_id)
        if row is None:
            return None
        if row["dead_bytes"] is None:
            raise NotDeadError(why_not_dead(job_of(row)))
        self._adding_steps.check_room(database, self._room, row["caller"], row["dead_bytes"])
        self._revive(database, row)
        row = self._row(database, job_id)
        return None if row is None else job_of(row)

    def purge(self, job_ids: Sequence[str]) -> int:
        with self._writing() as database:
            gone = self._operating.purge(database, job_ids)
        self._forget(gone)
        return len(gone)

    def _forget(self, gone: Sequence[Row]) -> None:
        """Delete the files of jobs that are kept no longer."""
        for row in gone:
            with suppress(OSError):  # it is a stray from here on
                self._files.drop_payload(row["id"])
                self._files.drop_result(row["id"], row["attempts"])

    def _bound_dead(self) -> None:
        """Let those be dead no more that are too many, or too large together."""
        bounds, too_much = self._bounds, self._operating.too_much
        with self._aside() as database:
            many = too_much(database, DEAD, "1", bounds["keep_dead"])
            large = too_much(database, DEAD, "dead_bytes", bounds["keep_dead_bytes"])
        for part in in_parts(list(dict.fromkeys([*many, *large]))):
            with self._writing() as database:
                resting = self._operating.let_rest(database, part)
            for job_id in resting:
                with suppress(OSError):  # it is a stray from here on
                    self._files.drop_payload(job_id)

    def _forget_old(self, database: C) -> Sequence[Row]:
        """Delete some of those that ended too long ago."""
        keep_seconds = self._bounds["keep_seconds"]
        return self._operating.forget_old(database, keep_seconds, MOST_AT_ONCE)

    def _forget_large(self) -> Sequence[Row]:
        """Delete some of those whose results are too large together."""
        if not self._large:
            with self._aside() as database:
                most = self._bounds["keep_bytes"]
                self._large = self._operating.too_much(database, KEPT, "result_bytes", most)
        part, self._large = self._large[:MOST_AT_ONCE], self._large[MOST_AT_ONCE:]
        if not part:
            return []
        with self._writing() as database:
            return self._operating.purge(database, part) if self._may_clean(database) else []

    def result(self, job_id: str) -> dict[str, Any] | None:
        attempt = self._successful(job_id)
        return None if attempt is None else self._files.read_result(job_id, attempt)

    def artifacts(self, job_id: str) -> list[ArtifactInfo]:
        attempt = self._successful(job_id)
        return [] if attempt is None else self._files.read_artifacts(job_id, attempt)

    def open_artifact(self, job_id: str, name: str) -> KeptArtifact | None:
        attempt = self._successful(job_id)
        return None if attempt is None else self._files.open_artifact(job_id, attempt, name)

    def _successful(self, job_id: str) -> int | None:
        with self._reading() as database:
            return self._attempt_of(database, job_id)
