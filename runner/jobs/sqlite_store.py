"""Jobs in an SQLite file of the state folder: the store that needs nothing installed.

One connection a process, in write-ahead mode, so that readers hold up nobody. A change is on disk
before the method that makes it returns. Payloads, results and artifacts are files of their own.
The statements that change a job stand in ``sqlite_adding``,
``sqlite_running`` and ``sqlite_operating``.
"""

from __future__ import annotations

import errno
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from sqlite3 import Connection, Error, Row
from typing import Any, Unpack

from toolrunner.runner.errors import CancelledBy, ErrorType
from toolrunner.runner.jobs import sqlite_adding, sqlite_operating
from toolrunner.runner.jobs.blobs import AwayError, Blobs, RefusedError
from toolrunner.runner.jobs.files import JobFiles, Owner
from toolrunner.runner.jobs.folder_blobs import check_disk, full_words
from toolrunner.runner.jobs.job import (
    Event,
    Job,
    JobStatus,
    QueueFullError,
    Submission,
)
from toolrunner.runner.jobs.payloads import encode_payload, fingerprint
from toolrunner.runner.jobs.row_store import RowStore
from toolrunner.runner.jobs.rows import Row as AnyRow
from toolrunner.runner.jobs.rows import cancelled_by, events_of, job_of, status_of
from toolrunner.runner.jobs.rules import Bounds
from toolrunner.runner.jobs.sqlite_adding import insert
from toolrunner.runner.jobs.sqlite_alone import alone, set_aside
from toolrunner.runner.jobs.sqlite_file import JobDatabase
from toolrunner.runner.jobs.sqlite_operating import revive
from toolrunner.runner.jobs.sqlite_rows import COUNT_STRANDED, OLDEST_WAITING, SELECT_JOBS
from toolrunner.runner.jobs.sqlite_running import (
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
from toolrunner.runner.jobs.store import (
    Claim,
    JobFigures,
    StoreError,
    Stranded,
    Unended,
)
from toolrunner.runner.state.database import FULL_DISK_SECONDS, is_full
from toolrunner.runner.state.leases import Lease
from toolrunner.runner.state.reopened import remedy
from toolrunner.runner.webhooks.sqlite_outbox import SqliteOutbox

_LOG = logging.getLogger("toolrunner.jobs")

# Nothing tells one process what another has written into the file.
_FOLLOW_SECONDS = 0.5
# When a file was made although files of jobs were there: those are another one's, which was lost.
_LOST_BEFORE = "lost_before"


class SqliteJobStore(RowStore[Connection]):
    """Jobs of one state folder; see ``JobStore`` for what each method does."""

    tick_seconds = 0.1

    def __init__(
        self,
        folder: Path,
        lease: Lease,
        *,
        blobs: Blobs | None = None,
        may_migrate: bool = True,
        **bounds: Unpack[Bounds],
    ) -> None:
        """Open the store, or make it.

        A file of an older version is brought up to date only if it may be: servers that are of that
        version and run would lose it.

        ``blobs``: where payloads, results and artifacts lie, if not in ``folder``.
        Where it cannot be opened, each method says so by StoreError, until it can.
        ``lease`` stays with the jobs that this process runs, and says when it is no more.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = Owner(lambda: _id_of(folder), lambda: _first_blobs(folder))
        files = JobFiles(folder) if blobs is None else JobFiles(blobs, owner=owner)
        super().__init__(files, bounds, sqlite_adding, sqlite_operating)
        self._folder = folder
        self._beside = "beside it" if blobs is None else f"in {blobs.where}"
        self._lease = lease
        self._database = JobDatabase(folder, self._is_new, may_migrate=may_migrate)
        self.outbox = SqliteOutbox(self._database)
        # What the file says that this process can run, and by which opening of it.
        self._offered: tuple[int, Mapping[str, str]] = (0, {})
        with suppress(OSError):  # it is tried again whenever it is needed, and ``check`` says why
            self._files.make()
            with self._reading():
                pass

    def listen(self, heard: Callable[[], None]) -> None:
        """Call nobody: whoever takes jobs looks every ``tick_seconds``."""

    @contextmanager
    def following(self, job_id: str, heard: Callable[[], None]) -> Iterator[float]:  # noqa: ARG002 - see ``JobStore``
        yield _FOLLOW_SECONDS

    def add(self, submission: Submission) -> tuple[Job, bool]:
        job_id = uuid.uuid4().hex
        try:
            payload = self._files.write_files(job_id, submission.payload)
            data = encode_payload(payload)
            mark = fingerprint(submission.plugin, submission.retries, data)
            size = len(data) + (self._files.files_bytes(job_id) if "files" in payload else 0)
            with self._reading() as database:  # before more is written
                same = self._same(database, submission, mark, size)
            if same is None:
                self._files.write_payload(job_id, data)
                with self._writing() as database:
                    same = self._same(database, submission, mark, size)
                    if same is None:
                        job = insert(database, job_id, submission, mark, size)
                self._adding.worked()
                if same is None:
                    return job, True
        except BaseException as error:
            if not isinstance(error, AwayError):  # else it is a stray, if anything is there
                with suppress(OSError):
                    self._files.drop_payload(job_id)
            if is_full(error):
                self._adding.failed(self._full(error))
                message = "the disk that keeps the jobs is full; try again later"
                details = {"retry_after_seconds": FULL_DISK_SECONDS}
                raise QueueFullError(ErrorType.OVERLOADED, message, details) from error
            if isinstance(error, StoreError):
                self._adding.failed(error)
            elif isinstance(error, OSError):
                unusable = StoreError(errno.EIO, _unusable(error))
                self._adding.failed(unusable)
                raise unusable from error
            raise
        self._files.drop_payload(job_id)
        return same, False

    def rename_callers(self, names: Mapping[str, str]) -> None:
        with self._writing() as database:
            # IGNORE: of two with one Idempotency-Key the older one's stays where nobody sees it.
            database.executemany(
                "UPDATE OR IGNORE jobs SET caller = ?2 WHERE caller = ?1", names.items()
            )

    def claim(self, runnable: Mapping[str, str]) -> Claim | None:
        try:
            self._lease.insist()
        except OSError as error:
            # Under a name that nobody has locked, the job would be another's in a moment.
            message = f"no job is taken, since nothing can be written below {self._folder}: {error}"
            raise StoreError(error.errno, message) from error
        with self._writing() as database:
            offered = (self._database.openings, dict(runnable))
            if offered != self._offered:
                offer(database, self._lease.name, runnable)
            damaged = partial(self._put_aside, database)
            row = take(database, self._lease.name, runnable, damaged)
        self._offered = offered
        return None if row is None else Claim(job_of(row), row["attempts"])

    def offered(self, plugin: str) -> set[str]:
        with self._reading() as database:
            rows = database.execute(
                "SELECT DISTINCT version FROM offers WHERE plugin = ?", (plugin,)
            )
            return {row["version"] for row in rows}

    def stranded(self) -> list[Stranded]:
        with self._reading() as database:
            first = database.execute("SELECT min(worker) FROM offers").fetchone()[0]
            if first not in {None, self._lease.name}:
                return []
            return [Stranded(*row) for row in database.execute(COUNT_STRANDED)]

    def all_stranded(self) -> list[Stranded]:
        with self._reading() as database:
            return [Stranded(*row) for row in database.execute(COUNT_STRANDED)]

    def begin(self, claim: Claim) -> bool:
        with self._of_one(claim.job.id) as database:
            if begin(database, claim, self._lease.name):
                return True
        return False

    def progress(self, claim: Claim, fraction: float, message: str) -> None:
        with self._of_one(claim.job.id) as database:
            note_progress(database, claim, self._lease.name, fraction, message)

    def give_back(self, claim: Claim) -> None:
        with self._of_one(claim.job.id) as database:
            put_back(database, claim, self._lease.name)

    def spare_room(self) -> None:
        """Have the next change need as little room as can be: for a disk that is full."""
        with suppress(StoreError):
            self._database.shrink_log()

    def withdrawn(self) -> dict[str, CancelledBy]:
        with self._reading() as database:
            rows = database.execute(
                "SELECT id, withdrawn FROM jobs"
                " WHERE status = 'RUNNING' AND worker = ? AND withdrawn",
                (self._lease.name,),
            )
            return {row["id"]: cancelled_by(row["withdrawn"]) for row in rows}

    def events(self, job_id: str, after: int) -> list[Event]:
        with self._reading() as database:
            rows = database.execute(
                "SELECT number, kind, data FROM events WHERE number > ?"
                " AND job = (SELECT seq FROM jobs WHERE id = ?) ORDER BY number",
                (after, job_id),
            )
            return events_of(rows)

    def counts(self) -> dict[JobStatus, int]:
        with self._reading() as database:
            rows = database.execute("SELECT status, count(*) AS n FROM jobs GROUP BY status")
            found = Counter(dict.fromkeys(JobStatus, 0))
            for row in rows:
                found[status_of(row["status"])] += int(row["n"])
        return dict(found)

    def unended(self) -> Unended:
        query = "SELECT count(*) AS jobs, min(created) AS oldest FROM jobs WHERE status = ?"
        with self._reading() as database:
            pending = database.execute(query, (JobStatus.PENDING,)).fetchone()
            running = database.execute(query, (JobStatus.RUNNING,)).fetchone()
        oldest = pending["oldest"]
        waited = 0.0 if oldest is None else max(0.0, time.time() - oldest)
        return Unended(pending["jobs"], running["jobs"], waited)

    def figures(self) -> JobFigures:
        with self._reading() as database:
            ended = dict(database.execute("SELECT status, jobs FROM ended").fetchall())
            oldest = database.execute(OLDEST_WAITING).fetchone()
        now = time.time()
        return JobFigures(
            {status: ended.get(status, 0) for status in JobStatus if status.has_ended},
            *(0.0 if since is None else max(0.0, now - since) for since in oldest),
        )

    def recover(self, lost: Callable[[Job], dict[str, Any]]) -> int:
        with suppress(OSError):  # else the other processes take this one's
            self._lease.insist()
        query = "SELECT worker FROM jobs WHERE status = 'RUNNING' UNION SELECT worker FROM offers"
        with self._reading() as database:
            workers = [row["worker"] for row in database.execute(query)]
        count = 0
        for worker in workers:
            if self._lease.is_dead(worker):
                with self._writing() as database:
                    damaged = partial(self._put_aside, database)
                    taken = take_back(database, worker, lost, damaged)
                    dead = self._bury_lost(database, taken)
                self._clear(taken, dead)
                count += len(taken)
        return count

    def take_back_unknown(
        self, known: Collection[Claim], lost: Callable[[Job], dict[str, Any]]
    ) -> int:
        marks, name = {claim.mark for claim in known}, self._lease.name
        query = "SELECT id || ':' || attempts FROM jobs WHERE status = 'RUNNING' AND worker = ?"
        with self._reading() as database:  # mostly there is none: nothing is locked
            if marks.issuperset(mark for [mark] in database.execute(query, (name,))):
                return 0
        with self._writing() as database:
            damaged = partial(self._put_aside, database)
            taken = take_back_unknown(database, name, marks, lost, damaged)
            dead = self._bury_lost(database, taken)
        self._clear(taken, dead)
        return len(taken)

    def clean(self) -> int:
        self._bound_dead()
        with self._writing() as database:
            gone = self._forget_old(database)
            since = _lost_before(database)
        if not gone:
            gone = self._forget_large()
        self._files.probe()  # what cannot be deleted now is a stray from here on
        self._forget(gone)
        if not gone:
            self._files.drop_strays(self._is_known, since=since)
        return len(gone)

    def check(self) -> None:
        with self._file_faults():
            self._files.check()
            check_disk(self._folder)
        with self._writing() as database:
            before = _lost_before(database)
        if before:
            self._check_for_lost(before)

    def close(self) -> None:
        if self._offered[1]:
            with suppress(OSError, Error), self._writing() as database:
                offer(database, self._lease.name, {})
        self._database.close()

    def _reading(self) -> AbstractContextManager[Connection]:
        return self._database.reading()

    def _writing(self) -> AbstractContextManager[Connection]:
        return self._database.writing()

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        with self._database.writing() as database, alone(database):
            yield database

    def _set_aside(self, database: Connection, row: AnyRow, error: dict[str, Any]) -> None:
        set_aside(database, row, error)

    def _aside(self) -> AbstractContextManager[Connection]:
        return self._database.aside()

    def _row(self, database: Connection, job_id: str) -> Row | None:
        found: Row | None = database.execute(f"{SELECT_JOBS} WHERE id = ?", (job_id,)).fetchone()
        return found

    def _row_to_change(self, database: Connection, job_id: str) -> Row | None:
        return self._row(database, job_id)  # one process at a time writes

    def _attempt_of(self, database: Connection, job_id: str) -> int | None:
        row = database.execute(
            "SELECT attempts FROM jobs WHERE id = ? AND status = 'SUCCESS'", (job_id,)
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
        worker = self._lease.name
        return end(database, claim, worker, status, error=error, result_bytes=result_bytes)

    def _abandon(
        self, database: Connection, claim: Claim, error: dict[str, Any]
    ) -> tuple[Row, JobStatus] | None:
        return abandon(database, claim, self._lease.name, error)

    def _withdraw(self, database: Connection, job_id: str, by: CancelledBy) -> bool:
        return withdraw(database, job_id, by)

    def _revive(self, database: Connection, row: AnyRow) -> None:
        revive(database, row["seq"])

    @contextmanager
    def _file_faults(self) -> Iterator[None]:
        """Say what to do where the files beside the database cannot be used."""
        try:
            yield
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(errno.EIO, _unusable(error)) from error

    def _is_new(self, database: Connection) -> None:
        """Note whether a new file has taken the place of one that was lost."""
        now = time.time()
        if self._files.count_strays(lambda _job_id: False, before=now):
            database.execute("INSERT INTO notes (name, value) VALUES (?, ?)", (_LOST_BEFORE, now))
            _LOG.error("%s", self._lost_words("files"))

    def _check_for_lost(self, before: float) -> None:
        """Raise StoreError for as long as there are files of jobs that a lost file knew."""
        with self._file_faults():
            count = self._files.count_strays(self._is_known, before=before)
        if count:
            raise StoreError(errno.EIO, self._lost_words(f"{count} files"))
        with self._writing() as database:
            database.execute("DELETE FROM notes WHERE name = ?", (_LOST_BEFORE,))

    def _lost_words(self, files: str) -> str:
        return (
            f"{self._database.path} is new, and {files} in payloads, results and artifacts"
            f" {self._beside} are of jobs that it does not know: put the one that knew them back"
            " while no server runs, or move these files away; nothing of them is deleted"
        )

    def _full(self, error: BaseException) -> StoreError:
        """Return what the log says of a place without room."""
        if isinstance(error, RefusedError):
            return error
        place = self._folder if isinstance(error, StoreError) else self._files.where
        return StoreError(errno.ENOSPC, full_words(place))


def _lost_before(database: Connection) -> float:
    """Return from before when files are of jobs that a lost file knew; 0 if none was lost."""
    row = database.execute("SELECT value FROM notes WHERE name = ?", (_LOST_BEFORE,)).fetchone()
    return 0.0 if row is None else float(row["value"])


def _id_of(folder: Path) -> str:
    """Return what tells the jobs of one state folder from all others, and stays with it."""
    path = folder / "blobs-owner"
    if not path.exists():
        name = uuid.uuid4().hex
        new = folder / f"blobs-owner.{name}"
        try:
            new.write_text(name, "ascii")
            with suppress(FileExistsError):  # another process was first
                path.hardlink_to(new)
        finally:
            new.unlink(missing_ok=True)
    return path.read_text("ascii")


@contextmanager
def _first_blobs(folder: Path) -> Iterator[bool]:
    path = folder / "blobs-kept"
    yield not path.exists()
    path.touch(0o600)


def _unusable(error: OSError) -> str:
    todo = remedy(error, "payloads, results and artifacts")
    return f"{error.filename or 'a folder of jobs'} cannot be used ({error.strerror}): {todo}"
