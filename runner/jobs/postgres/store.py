"""Jobs in PostgreSQL: the store of all servers that have the same ``jobs`` in their settings.

A change is committed before the method that makes it returns. Payloads, results and artifacts are
blobs that all these servers reach. The statements that change a job stand in ``adding``,
``running`` and ``operating``.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import sys
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from psycopg.errors import UniqueViolation

from toolrunner.runner.artifacts import ArtifactInfo
from toolrunner.runner.errors import CancelledBy, ErrorType
from toolrunner.runner.jobs.blobs import Blobs, RefusedError
from toolrunner.runner.jobs.files import JobFiles
from toolrunner.runner.jobs.folder_blobs import full_words
from toolrunner.runner.jobs.job import (
    Event,
    Job,
    JobFilter,
    JobStatus,
    NotDeadError,
    QueueFullError,
    Submission,
)
from toolrunner.runner.jobs.payloads import encode_payload, fingerprint
from toolrunner.runner.jobs.postgres.adding import check_room, insert, known
from toolrunner.runner.jobs.postgres.connections import Connection, Connections, read_only
from toolrunner.runner.jobs.postgres.membership import (
    BEAT_SECONDS,
    LATE_SECONDS,
    Membership,
    is_fresh,
    is_member,
    remove_dead,
    suspects,
)
from toolrunner.runner.jobs.postgres.notices import OF_JOB, WAITING, WITHDRAWN, Notices
from toolrunner.runner.jobs.postgres.operating import (
    bury,
    forget_old,
    let_rest,
    listed,
    purge,
    rename_caller,
    revive,
    too_large,
    too_many_dead,
)
from toolrunner.runner.jobs.postgres.queue import JobQueue
from toolrunner.runner.jobs.postgres.rows import COUNT_STRANDED, NOW, SELECT_JOBS, Row, one
from toolrunner.runner.jobs.postgres.running import (
    abandon,
    begin,
    end,
    note_progress,
    offer,
    put_back,
    take,
    take_back,
    take_back_unknown,
    withdraw,
)
from toolrunner.runner.jobs.postgres.schema import SchemaError, check
from toolrunner.runner.jobs.postgres.webhooks import PostgresOutbox, PostgresSecrets
from toolrunner.runner.jobs.rows import cancelled_by, event_of, job_of
from toolrunner.runner.jobs.rules import (
    MOST_AT_ONCE,
    Room,
    in_parts,
    is_callers_fault,
    why_not_dead,
)
from toolrunner.runner.jobs.store import (
    ArtifactReader,
    Claim,
    JobFigures,
    StoreError,
    Stranded,
)
from toolrunner.runner.settings.database_url import DatabaseUrl
from toolrunner.runner.state.database import FULL_DISK_SECONDS, is_full
from toolrunner.runner.trouble import Trouble
from toolrunner.sandbox.artifacts import Artifact

_LOG = logging.getLogger("toolrunner.jobs")

# Any number that nobody else locks in this database: who deletes what is kept no longer.
_CLEANING = 0x74726A63


class PostgresJobStore:
    """Jobs of one database; see ``JobStore`` for what each method does."""

    # Heartbeats look after what no notice has told.
    tick_seconds = 60.0

    def __init__(
        self,
        url: DatabaseUrl,
        place: Path | Blobs,
        *,
        max_pending: int,
        keep_seconds: float,
        keep_bytes: int,
        max_pending_bytes: int = sys.maxsize,
        keep_dead: int = 0,
        keep_dead_bytes: int = 0,
        late_seconds: float = LATE_SECONDS,
        fresh_seconds: float = LATE_SECONDS,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        """Use a database, and a place for files, that all processes of the cluster reach.

        The bounds are those of ``SqliteJobStore``. A process is dead that has said nothing for
        ``late_seconds``; none is in the first ``fresh_seconds`` of PostgreSQL's, in which the
        living come back to it. This one says that it lives every ``beat_seconds``.

        Raises SchemaError for a database with other tables. Where it cannot be reached, each method
        says so by StoreError, until it can.
        """
        self._room = Room(max_pending, max_pending_bytes)
        self._keep_seconds = keep_seconds
        self._keep_bytes = keep_bytes
        self._keep_dead = keep_dead
        self._keep_dead_bytes = keep_dead_bytes
        self._late_seconds = late_seconds
        self._fresh_seconds = fresh_seconds
        self._files = JobFiles(place, owner=self._id)
        self._url = url
        self._queue = JobQueue()
        self._database = Connections(url, self._check_schema)
        self._membership = Membership(
            url, self._check_schema, late_seconds=late_seconds, beat_seconds=beat_seconds
        )
        self._notices = Notices(url)
        self.outbox = PostgresOutbox(self._database, self._notices)
        self.secrets = PostgresSecrets(self._database)
        # What is still to go, of what was found to be too large together.
        self._large: list[str] = []
        # What the database says that this process can run, and by which name.
        self._offered: tuple[str, Mapping[str, str]] = ("", {})
        # The claims that this process has not given up, by their jobs, also those that it has lost.
        self._held: dict[str, int] = {}
        self._holding = threading.Lock()
        self._adding = Trouble(
            _LOG, StoreError, "jobs are refused", "jobs are stored again: the job store works"
        )
        try:
            with self._database.reading():
                pass
        except SchemaError:
            raise
        except StoreError:  # it is tried again whenever it is needed, and ``check`` says why
            pass
        with suppress(OSError):  # the same holds of it
            self._files.make()

    def listen(self, heard: Callable[[], None]) -> None:
        # Of withdrawn jobs of others too: one that is being claimed here just now is in no list.
        for channel in (WAITING, WITHDRAWN):
            self._notices.hear(channel, heard)
        self._membership.stirred = heard

    @contextmanager
    def following(self, job_id: str, heard: Callable[[], None]) -> Iterator[float]:
        with self._notices.hearing(OF_JOB + job_id, heard):
            yield math.inf

    def add(self, submission: Submission) -> tuple[Job, bool]:
        job_id = uuid.uuid4().hex
        try:
            job, is_new = self._add(job_id, submission)
        except BaseException as error:
            # What was said of a StoreError may be the answer alone, of a job that is there: without
            # one, its payload is deleted for its age.
            if isinstance(error, RefusedError) or not isinstance(error, StoreError):
                with suppress(OSError):
                    self._files.drop_payload(job_id)
            if is_full(error):
                self._adding.failed(self._full(error))
                message = "the disk that keeps the jobs is full; try again later"
                details = {"retry_after_seconds": FULL_DISK_SECONDS}
                raise QueueFullError(ErrorType.OVERLOADED, message, details) from error
            if isinstance(error, OSError):
                told = error if isinstance(error, StoreError) else _unusable(error)
                self._adding.failed(told)
                raise told from error.__cause__
            raise
        self._adding.worked()
        if not is_new:
            self._files.drop_payload(job_id)
        return job, is_new

    def _full(self, error: BaseException) -> StoreError:
        """Return what the log says of a place without room."""
        if isinstance(error, StoreError):
            return error
        return StoreError(errno.ENOSPC, full_words(self._files.where))

    def _add(self, job_id: str, submission: Submission) -> tuple[Job, bool]:
        payload = self._files.write_files(job_id, submission.payload)
        data = encode_payload(payload)
        mark = fingerprint(submission.plugin, submission.retries, data)
        size = len(data) + (self._files.files_bytes(job_id) if "files" in payload else 0)
        with self._database.reading() as database:  # before more is written
            same = self._same(database, submission, mark, size)
        if same is not None:
            return same, False
        self._files.write_payload(job_id, data)
        try:
            with self._database.writing() as database:
                same = self._same(database, submission, mark, size)
                if same is not None:
                    return same, False
                job = insert(
                    database, self._queue, job_id, submission, mark=mark, payload_bytes=size
                )
                return job, True
        except UniqueViolation:  # the same key, at the same time
            with self._database.reading() as database:
                same = known(database, submission, mark)
            if same is None:
                raise
            return same, False

    def _same(
        self, database: Connection, submission: Submission, mark: str, payload_bytes: int
    ) -> Job | None:
        """Return the job that this submission is a repetition of, or make sure of its room."""
        same = known(database, submission, mark)
        if same is None:
            check_room(database, self._room, submission.caller, payload_bytes)
        return same

    def get(self, job_id: str) -> Job | None:
        with self._database.reading() as database:
            row = one(database, job_id)
        return None if row is None else job_of(row)

    def listed(self, which: JobFilter, *, limit: int, before: str | None) -> list[Job]:
        with self._database.reading() as database:
            return listed(database, which, limit=limit, before=before)

    def rename_callers(self, names: Mapping[str, str]) -> None:
        with self._database.writing() as database:
            for old, new in names.items():
                rename_caller(database, old, new)

    def claim(self, runnable: Mapping[str, str]) -> Claim | None:
        with self._holding:
            held = list(self._held)
        name = self._membership.insist()
        with self._database.writing() as database:
            is_known = is_member(database, name)
            if is_known:
                row = self._take(database, name, runnable, held)
        if not is_known:
            self._membership.taken_for_dead()
            return None
        self._offered = (name, dict(runnable))
        if row is None:
            return None
        claim = Claim(job_of(row), row["attempts"])
        with self._holding:
            self._held[claim.job.id] = claim.number
        return claim

    def _take(
        self, database: Connection, name: str, runnable: Mapping[str, str], held: list[str]
    ) -> Row | None:
        if self._offered != (name, runnable):
            offer(database, name, runnable)
        return take(database, self._queue, name, runnable, held)

    def offered(self, plugin: str) -> set[str]:
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT DISTINCT version FROM offers WHERE plugin = %s", (plugin,)
            )
            return {row["version"] for row in rows}

    def stranded(self) -> list[Stranded]:
        query = (
            f"WITH found AS ({COUNT_STRANDED}) SELECT * FROM found"  # noqa: S608 - ours alone
            " WHERE coalesce((SELECT min(worker) FROM offers), %(me)s) = %(me)s"
        )
        with self._database.reading() as database:
            return _stranded(database, query, {"me": self._membership.name})

    def all_stranded(self) -> list[Stranded]:
        with self._database.reading() as database:
            return _stranded(database, COUNT_STRANDED)

    def payload(self, claim: Claim) -> Mapping[str, Any]:
        return self._files.kept_payload(claim.job.id)

    def begin(self, claim: Claim) -> bool:
        with self._database.writing() as database:
            return begin(database, claim)

    def progress(self, claim: Claim, fraction: float, message: str) -> None:
        with self._database.writing() as database:
            note_progress(database, claim, fraction, message)

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
        with self._database.writing() as database:
            has_ended = end(database, claim, status, error=error, result_bytes=size)
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
        self,
        database: Connection,
        job_id: str,
        status: JobStatus,
        error: dict[str, Any] | None = None,
    ) -> bool:
        """Let a job that has failed be dead, if another try may do better; whether it is."""
        if status is not JobStatus.FAILED or not self._keep_dead or is_callers_fault(error):
            return False
        size = self._files.payload_bytes(job_id)
        if size is None:
            return False
        bury(database, job_id, size)
        return True

    def give_back(self, claim: Claim) -> None:
        with self._database.writing() as database:
            put_back(database, self._queue, claim)
        self._let_go(claim)

    def abandon(self, claim: Claim, error: dict[str, Any]) -> None:
        with self._database.writing() as database:
            lost = abandon(database, self._queue, claim, error)
            taken = [] if lost is None else [lost]
            dead = self._bury_lost(database, taken)
        self._let_go(claim)
        self._clear(taken, dead)

    def _bury_lost(self, database: Connection, taken: list[tuple[Row, JobStatus]]) -> set[str]:
        return {row["id"] for row, status in taken if self._bury(database, row["id"], status)}

    def _let_go(self, claim: Claim) -> None:
        with self._holding:
            if self._held.get(claim.job.id) == claim.number:
                del self._held[claim.job.id]

    def cancel(self, job_id: str, by: CancelledBy = CancelledBy.CALLER) -> Job | None:
        with self._database.writing() as database:
            has_ended = withdraw(database, self._queue, job_id, by)
            now = one(database, job_id)
        if has_ended:
            with suppress(OSError):
                self._files.drop_payload(job_id)
        return None if now is None else job_of(now)

    def retry(self, job_id: str) -> Job | None:
        with self._database.writing() as database:
            row = database.execute(f"{SELECT_JOBS} WHERE id = %s FOR UPDATE", (job_id,)).fetchone()
            if row is None:
                return None
            if row["dead_bytes"] is None:
                raise NotDeadError(why_not_dead(job_of(row)))
            check_room(database, self._room, row["caller"], row["dead_bytes"])
            revive(database, self._queue, row)
            row = one(database, job_id)
        return None if row is None else job_of(row)

    def purge(self, job_ids: Sequence[str]) -> int:
        with self._database.writing() as database:
            gone = purge(database, job_ids)
        self._forget(gone)
        return len(gone)

    def _forget(self, gone: Sequence[Row]) -> None:
        """Delete the files of jobs that are kept no longer."""
        for row in gone:
            with suppress(OSError):  # it is a stray from here on
                self._files.drop_payload(row["id"])
                self._files.drop_result(row["id"], row["attempts"])

    def withdrawn(self) -> dict[str, CancelledBy]:
        """Return also those that were taken from this process: nobody wants what they bring."""
        with self._holding:
            held = dict(self._held)
        if not held:
            return {}
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT id, attempts, withdrawn FROM jobs"
                " WHERE id = ANY(%s) AND status = 'RUNNING'",
                (list(held),),
            )
            ours = {
                row["id"]: row["withdrawn"] for row in rows if row["attempts"] == held[row["id"]]
            }
        taken = dict.fromkeys(held.keys() - ours.keys(), CancelledBy.SERVER)
        return taken | {one: cancelled_by(mark) for one, mark in ours.items() if mark}

    def result(self, job_id: str) -> dict[str, Any] | None:
        attempt = self._successful(job_id)
        return None if attempt is None else self._files.read_result(job_id, attempt)

    def artifacts(self, job_id: str) -> list[ArtifactInfo]:
        attempt = self._successful(job_id)
        return [] if attempt is None else self._files.read_artifacts(job_id, attempt)

    def open_artifact(self, job_id: str, name: str) -> ArtifactReader | None:
        attempt = self._successful(job_id)
        return None if attempt is None else self._files.open_artifact(job_id, attempt, name)

    def _successful(self, job_id: str) -> int | None:
        """Return which claim of a job has succeeded, ``None`` when none has."""
        with self._database.reading() as database:
            row = database.execute(
                "SELECT attempts FROM jobs WHERE id = %s AND status = 'SUCCESS'", (job_id,)
            ).fetchone()
        return None if row is None else int(row["attempts"])

    def events(self, job_id: str, after: int) -> list[Event]:
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT number, kind, data FROM events WHERE number > %s"
                " AND job = (SELECT seq FROM jobs WHERE id = %s) ORDER BY number",
                (after, job_id),
            )
            return [event_of(row) for row in rows]

    def counts(self) -> dict[JobStatus, int]:
        with self._database.reading() as database:
            rows = database.execute("SELECT status, count(*) AS jobs FROM jobs GROUP BY status")
            found = {JobStatus(row["status"]): int(row["jobs"]) for row in rows}
        return {status: found.get(status, 0) for status in JobStatus}

    def figures(self) -> JobFigures:
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT status, sum(jobs)::bigint AS jobs FROM (SELECT status, jobs FROM ended"
                " UNION ALL SELECT status, count(*) FROM jobs WHERE ended IS NOT NULL"
                " GROUP BY status) AS both_of_them GROUP BY status"
            )
            found = {row["status"]: row["jobs"] for row in rows}
            oldest = database.execute(
                f"SELECT {NOW} - min(created) AS seconds FROM jobs WHERE status = 'PENDING'"  # noqa: S608 - ours
            ).fetchone()
        waited = 0.0 if oldest is None or oldest["seconds"] is None else oldest["seconds"]
        return JobFigures(
            {status: found.get(status, 0) for status in JobStatus if status.has_ended},
            max(0.0, waited),
        )

    def recover(self, lost: Callable[[Job], dict[str, Any]]) -> int:
        with self._database.reading() as database:
            workers = suspects(database, self._membership.name, self._late_seconds)
            if not workers or is_fresh(database, self._fresh_seconds):
                return 0
        count = 0
        for worker in workers:
            taken: list[tuple[Row, JobStatus]] = []
            with self._database.writing() as database:
                if remove_dead(database, worker, self._late_seconds):
                    taken = take_back(database, self._queue, worker, lost)
                dead = self._bury_lost(database, taken)
            self._clear(taken, dead)
            count += len(taken)
        return count

    def take_back_unknown(
        self, known: Collection[Claim], lost: Callable[[Job], dict[str, Any]]
    ) -> int:
        marks, name = {claim.mark for claim in known}, self._membership.name
        with self._database.reading() as database:  # mostly there is none: nothing is locked
            rows = database.execute(
                "SELECT id || ':' || attempts AS mark FROM jobs"
                " WHERE status = 'RUNNING' AND worker = %s",
                (name,),
            )
            if marks.issuperset(row["mark"] for row in rows):
                return 0
        with self._database.writing() as database:
            taken = take_back_unknown(database, self._queue, name, marks, lost)
            dead = self._bury_lost(database, taken)
        with self._holding:
            self._held = {job: n for job, n in self._held.items() if f"{job}:{n}" in marks}
        self._clear(taken, dead)
        return len(taken)

    def _clear(self, taken: list[tuple[Row, JobStatus]], dead: set[str]) -> None:
        """Delete the files of attempts that were lost; those that cannot be are strays later."""
        for row, status in taken:
            with suppress(OSError):
                # It may have died between its files and the word that it has ended.
                self._files.drop_result(row["id"], row["attempts"])
                if status.has_ended and row["id"] not in dead:
                    self._files.drop_payload(row["id"])

    def clean(self) -> int:
        self._bound_dead()
        with self._database.writing() as database:
            if not _is_ours_to_clean(database):  # another process is at it
                return 0
            gone = forget_old(database, self._keep_seconds, MOST_AT_ONCE)
            made = database.execute("SELECT value FROM notes WHERE name = 'made'").fetchone()
        if not gone:
            gone = self._forget_large()
        self._files.probe()  # what cannot be deleted now is a stray from here on
        self._forget(gone)
        if gone:
            return len(gone)
        # Files from before this database was made may be of jobs that another one knows.
        since = float("inf") if made is None else made["value"]
        self._files.drop_strays(self._is_known, since=since)
        return 0

    def _bound_dead(self) -> None:
        with self._database.reading() as database:
            ids = too_many_dead(database, self._keep_dead, self._keep_dead_bytes)
        for part in in_parts(ids):
            with self._database.writing() as database:
                resting = let_rest(database, part)
            for job_id in resting:
                with suppress(OSError):  # it is a stray from here on
                    self._files.drop_payload(job_id)

    def _forget_large(self) -> list[Row]:
        """Delete some of those whose results are too large together."""
        if not self._large:
            with self._database.reading() as database:
                self._large = too_large(database, self._keep_bytes)
        part, self._large = self._large[:MOST_AT_ONCE], self._large[MOST_AT_ONCE:]
        if not part:
            return []
        with self._database.writing() as database:
            return purge(database, part) if _is_ours_to_clean(database) else []

    def _is_known(self, job_id: str) -> bool:
        return self.get(job_id) is not None

    def check(self) -> None:
        try:
            self._files.check()
        except StoreError:
            raise
        except OSError as error:
            raise _unusable(error) from error
        with self._database.reading() as database:
            found = database.execute(
                "SELECT current_setting('transaction_read_only')::boolean AS is_read_only"
            ).fetchone()
        if found is None or found["is_read_only"]:
            raise read_only(self._url)

    def close(self) -> None:
        self._notices.close()
        self._membership.close()
        self._database.close()

    def _id(self) -> str:
        """Return what tells the jobs of this database from all others."""
        with self._database.reading() as database:
            row = database.execute("SELECT id FROM itself").fetchone()
        if row is None:
            message = f"{self._url} has lost its row of `itself`: put a backup of it back"
            raise StoreError(errno.EIO, message)
        return str(row["id"])

    def _check_schema(self, connection: Connection) -> None:
        check(self._url, connection)


def _is_ours_to_clean(database: Connection) -> bool:
    """Whether no other process deletes what is kept no longer, until this transaction ends."""
    mine = database.execute("SELECT pg_try_advisory_xact_lock(%s) AS mine", (_CLEANING,)).fetchone()
    return mine is not None and bool(mine["mine"])


def _stranded(
    database: Connection, query: str, values: Mapping[str, Any] | None = None
) -> list[Stranded]:
    rows = database.execute(query, values)
    return [Stranded(row["plugin"], row["version"], row["jobs"]) for row in rows]


def _unusable(error: OSError) -> StoreError:
    return StoreError(
        error.errno or errno.EIO,
        f"{error.filename or 'a folder of jobs'} cannot be used ({error.strerror}): let the user"
        f" who serves (uid {os.geteuid()}) read and write what is kept beside the jobs, on each"
        " machine",
    )
