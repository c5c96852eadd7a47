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
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from psycopg.errors import UniqueViolation

from toolrunner.runner.errors import CancelledBy, ErrorType
from toolrunner.runner.jobs.blobs import Blobs, RefusedError
from toolrunner.runner.jobs.files import JobFiles, Owner
from toolrunner.runner.jobs.folder_blobs import full_words
from toolrunner.runner.jobs.job import (
    Event,
    Job,
    JobStatus,
    QueueFullError,
    Submission,
)
from toolrunner.runner.jobs.payloads import encode_payload, fingerprint
from toolrunner.runner.jobs.postgres import adding, operating
from toolrunner.runner.jobs.postgres.adding import insert, known
from toolrunner.runner.jobs.postgres.alone import damage_told, set_aside
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
from toolrunner.runner.jobs.postgres.operating import rename_caller, revive
from toolrunner.runner.jobs.postgres.queue import JobQueue
from toolrunner.runner.jobs.postgres.rows import (
    COUNT_STRANDED,
    NOW,
    OLDEST_WAITING,
    SELECT_JOBS,
    Row,
    one,
)
from toolrunner.runner.jobs.postgres.running import (
    ANYTHING_WAITS,
    Turn,
    abandon,
    begin,
    end,
    note_progress,
    offer,
    put_back,
    take,
    take_back,
    take_back_unknown,
    take_sound,
    withdraw,
)
from toolrunner.runner.jobs.postgres.schema import SchemaError, check
from toolrunner.runner.jobs.postgres.webhooks import PostgresOutbox, PostgresSecrets
from toolrunner.runner.jobs.row_store import RowStore
from toolrunner.runner.jobs.rows import DamagedError, cancelled_by, events_of, job_of, status_of
from toolrunner.runner.jobs.rows import Row as AnyRow
from toolrunner.runner.jobs.rules import Bounds
from toolrunner.runner.jobs.store import (
    Claim,
    JobFigures,
    StoreError,
    Stranded,
    Unended,
)
from toolrunner.runner.settings.database_url import DatabaseUrl
from toolrunner.runner.state.database import FULL_DISK_SECONDS, is_full

_LOG = logging.getLogger("toolrunner.jobs")

# Any number that nobody else locks in this database: who deletes what is kept no longer.
_CLEANING = 0x74726A63
_NOTE_BLOBS = """
INSERT INTO notes (name, value) VALUES ('blobs', extract(epoch FROM clock_timestamp()))
  ON CONFLICT (name) DO NOTHING RETURNING 1
"""


class PostgresJobStore(RowStore[Connection]):
    """Jobs of one database; see ``JobStore`` for what each method does."""

    # Heartbeats look after what no notice has told.
    tick_seconds = 60.0

    def __init__(
        self,
        url: DatabaseUrl,
        place: Path | Blobs,
        *,
        late_seconds: float = LATE_SECONDS,
        fresh_seconds: float = LATE_SECONDS,
        beat_seconds: float = BEAT_SECONDS,
        **bounds: Unpack[Bounds],
    ) -> None:
        """Use a database, and a place for files, that all processes of the cluster reach.

        A process is dead that has said nothing for
        ``late_seconds``; none is in the first ``fresh_seconds`` of PostgreSQL's, in which the
        living come back to it. This one says that it lives every ``beat_seconds``.

        Raises SchemaError for a database with other tables. Where it cannot be reached, each method
        says so by StoreError, until it can.
        """
        super().__init__(
            JobFiles(place, owner=Owner(self._id, self._first_blobs)), bounds, adding, operating
        )
        self._late_seconds = late_seconds
        self._fresh_seconds = fresh_seconds
        self._url = url
        self._queue = JobQueue()
        self._database = Connections(url, self._check_schema)
        self._membership = Membership(
            url, self._check_schema, late_seconds=late_seconds, beat_seconds=beat_seconds
        )
        self._notices = Notices(url)
        self.outbox = PostgresOutbox(self._database, self._notices)
        self.secrets = PostgresSecrets(self._database)
        # What the database says that this process can run, and by which name.
        self._offered: tuple[str, Mapping[str, str]] = ("", {})
        # The claims that this process has not given up, by their jobs, also those that it has lost.
        self._held: dict[str, int] = {}
        self._holding = threading.Lock()
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

    def rename_callers(self, names: Mapping[str, str]) -> None:
        with self._database.writing() as database:
            for old, new in names.items():
                rename_caller(database, old, new)

    def claim(self, runnable: Mapping[str, str]) -> Claim | None:
        with self._holding:
            held = list(self._held)
        name = self._membership.insist()
        waiting = self._waiting()
        if not waiting and self._offered == (name, runnable):
            return None
        turn = Turn(name, runnable, held, waiting)
        try:
            with self._alone() as database:
                is_known, row = self._claimed(database, turn, take)
        except DamagedError:
            with self._writing() as database:
                sound = partial(take_sound, damaged=partial(self._put_aside, database))
                is_known, row = self._claimed(database, turn, sound)
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

    def _claimed(
        self,
        database: Connection,
        turn: Turn,
        step: Callable[[Connection, JobQueue, Turn], Row | None],
    ) -> tuple[bool, Row | None]:
        """Return whether this process is known, and the job that it gets."""
        if not is_member(database, turn.worker):
            return False, None
        self._offer(database, turn.worker, turn.runnable)
        return True, step(database, self._queue, turn)

    def _waiting(self) -> int:
        """Look in one step: of a job that waits every idle process is told, and one gets it."""
        with self._database.reading() as database:
            row = database.execute(ANYTHING_WAITS).fetchone()
            return 0 if row is None else int(row["jobs"])

    def _offer(self, database: Connection, name: str, runnable: Mapping[str, str]) -> None:
        if self._offered != (name, runnable):
            offer(database, name, runnable)

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

    def begin(self, claim: Claim) -> bool:
        with self._of_one(claim.job.id) as database:
            if begin(database, claim):
                return True
        return False

    def progress(self, claim: Claim, fraction: float, message: str) -> None:
        with self._of_one(claim.job.id) as database:
            note_progress(database, claim, fraction, message)

    def give_back(self, claim: Claim) -> None:
        with self._of_one(claim.job.id) as database:
            put_back(database, self._queue, claim)
        self._let_go(claim)

    def _let_go(self, claim: Claim) -> None:
        with self._holding:
            if self._held.get(claim.job.id) == claim.number:
                del self._held[claim.job.id]

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

    def events(self, job_id: str, after: int) -> list[Event]:
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT number, kind, data FROM events WHERE number > %s"
                " AND job = (SELECT seq FROM jobs WHERE id = %s) ORDER BY number",
                (after, job_id),
            )
            return events_of(rows)

    def counts(self) -> dict[JobStatus, int]:
        with self._database.reading() as database:
            rows = database.execute("SELECT status, count(*) AS jobs FROM jobs GROUP BY status")
            found = Counter(dict.fromkeys(JobStatus, 0))
            for row in rows:
                found[status_of(row["status"])] += int(row["jobs"])
        return dict(found)

    def unended(self) -> Unended:
        with self._database.reading() as database:
            row = database.execute(
                "SELECT count(*) FILTER (WHERE status = 'PENDING') AS pending,"  # noqa: S608 - ours
                " count(*) FILTER (WHERE status = 'RUNNING') AS running,"
                f" {NOW} - min(created) FILTER (WHERE status = 'PENDING') AS waited"
                " FROM jobs WHERE status IN ('PENDING', 'RUNNING')"
            ).fetchone()
        assert row is not None
        return Unended(row["pending"], row["running"], max(0.0, row["waited"] or 0.0))

    def figures(self) -> JobFigures:
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT status, sum(jobs)::bigint AS jobs FROM (SELECT status, jobs FROM ended"
                " UNION ALL SELECT status, count(*) FROM jobs WHERE ended IS NOT NULL"
                " GROUP BY status) AS both_of_them GROUP BY status"
            )
            found = {row["status"]: row["jobs"] for row in rows}
            oldest = database.execute(OLDEST_WAITING).fetchone()
        assert oldest is not None
        return JobFigures(
            {status: found.get(status, 0) for status in JobStatus if status.has_ended},
            max(0.0, oldest["pending"] or 0.0),
            max(0.0, oldest["stranded"] or 0.0),
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
                    damaged = partial(self._put_aside, database)
                    taken = take_back(database, self._queue, worker, lost, damaged)
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
            damaged = partial(self._put_aside, database)
            taken = take_back_unknown(database, self._queue, name, marks, lost, damaged)
            dead = self._bury_lost(database, taken)
        with self._holding:
            self._held = {job: n for job, n in self._held.items() if f"{job}:{n}" in marks}
        self._clear(taken, dead)
        return len(taken)

    def clean(self) -> int:
        self._bound_dead()
        with self._database.writing() as database:
            if not self._may_clean(database):  # another process is at it
                return 0
            gone = self._forget_old(database)
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

    @contextmanager
    def _first_blobs(self) -> Iterator[bool]:
        with self._database.writing() as database:
            yield database.execute(_NOTE_BLOBS).fetchone() is not None

    def _reading(self) -> AbstractContextManager[Connection]:
        return self._database.reading()

    def _writing(self) -> AbstractContextManager[Connection]:
        return self._database.writing()

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        with damage_told(), self._database.writing() as database:
            yield database

    def _set_aside(self, database: Connection, row: AnyRow, error: dict[str, Any]) -> None:
        set_aside(database, self._queue, row, error)

    def _aside(self) -> AbstractContextManager[Connection]:
        return self._database.reading()

    def _row(self, database: Connection, job_id: str) -> Row | None:
        return one(database, job_id)

    def _row_to_change(self, database: Connection, job_id: str) -> Row | None:
        return database.execute(f"{SELECT_JOBS} WHERE id = %s FOR UPDATE", (job_id,)).fetchone()

    def _attempt_of(self, database: Connection, job_id: str) -> int | None:
        row = database.execute(
            "SELECT attempts FROM jobs WHERE id = %s AND status = 'SUCCESS'", (job_id,)
        ).fetchone()
        return None if row is None else int(row["attempts"])

    def _end(
        self,
        database: Connection,
        claim: Claim,
        status: JobStatus,
        *,
        error: dict[str, Any] | None,
        result_bytes: int,
    ) -> bool:
        return end(database, claim, status, error=error, result_bytes=result_bytes)

    def _abandon(
        self, database: Connection, claim: Claim, error: dict[str, Any]
    ) -> tuple[Row, JobStatus] | None:
        return abandon(database, self._queue, claim, error)

    def _withdraw(self, database: Connection, job_id: str, by: CancelledBy) -> bool:
        return withdraw(database, self._queue, job_id, by)

    def _revive(self, database: Connection, row: AnyRow) -> None:
        revive(database, self._queue, row)

    def _may_clean(self, database: Connection) -> bool:
        query = "SELECT pg_try_advisory_xact_lock(%s) AS mine"
        mine = database.execute(query, (_CLEANING,)).fetchone()
        return mine is not None and bool(mine["mine"])

    def _check_schema(self, connection: Connection) -> None:
        check(self._url, connection)


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
