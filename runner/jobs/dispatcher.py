"""Runs stored jobs, a few at once, for as long as this process serves.

One thread takes jobs from the store while there is room, ends those that are cancelled, and looks
after what dead processes have left: when the store calls it, and now and then. Others run one job
each, through the service that every call takes. Which job is next is the store's to say. A job that
has begun is run again only as its ``retries`` allow, whatever has ended it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from toolrunner.runner.call import Call
from toolrunner.runner.envelope import Envelope, GovernedErrorBody
from toolrunner.runner.errors import CancelledBy, ErrorType, GovernedError
from toolrunner.runner.jobs import endings
from toolrunner.runner.jobs.blobs import AwayError
from toolrunner.runner.jobs.job import JobStatus
from toolrunner.runner.jobs.payloads import let_go
from toolrunner.runner.jobs.store import (
    Claim,
    JobStore,
    NotKeptError,
    StoreError,
    Stranded,
    UnreadableError,
)
from toolrunner.runner.tool_runner import MaybeResult
from toolrunner.runner.trouble import Trouble
from toolrunner.sandbox.shortage import NoThreadError, submit

_LOG = logging.getLogger("toolrunner.jobs")

# While something fails, or there is more to delete: how soon it is seen that it is time for that.
_SOON_SECONDS = 0.1
RECOVER_SECONDS = 2.0
CLEAN_SECONDS = 60.0
_PROGRESS_SECONDS = 0.1
# After a job that found no place: ever longer, as each try is written down.
_FIRST_BUSY_SECONDS, _MOST_BUSY_SECONDS = 0.2, 2.0


class Analysis(Protocol):
    """What runs a job: AnalysisService, through which every call of a plugin comes in."""

    def analyze(
        self, plugin_name: str, payload: Mapping[str, Any], *, call: Call | None = None
    ) -> tuple[MaybeResult, Envelope | None]:
        """Run a plugin once; return ``(result, None)`` or ``(None, envelope)``."""

    def runnable(self) -> dict[str, str]:
        """Return the version of each plugin that a call could run now."""

    def unfit(self, plugin_name: str) -> str:
        """Return in words why a plugin that is there may not run here; "" if it may."""

    def suspended(self, plugin_name: str, version: str | None) -> str:
        """Return in words why jobs for a version of a plugin wait, if it is only suspended."""


@dataclass(slots=True)
class _Running:
    claim: Claim
    call: Call
    is_interrupted: bool = False
    # Held while progress is told, so that it is told in order.
    telling: threading.Lock = field(default_factory=threading.Lock)
    told: float = field(default=-1.0)
    newest: tuple[float, str] | None = None  # progress that is held back, and not told yet


@dataclass(slots=True)
class _Ending:
    """How a job is to end: a step of the store, which holds what the job has brought."""

    running: _Running
    step: Callable[[], object]


class JobDispatcher:
    """Takes jobs from a store and runs them; ``start`` it once, ``drain`` it in the end."""

    def __init__(
        self, store: JobStore, analysis: Analysis, *, threads: int, only: Collection[str] = ()
    ) -> None:
        """``threads`` jobs run at once: with 0 none is taken, and what the dead have left is.

        ``only``: the plugins whose jobs are taken, each with its tools; all if empty.
        """
        self._store = store
        self._analysis = analysis
        self._most = threads
        self._only = frozenset(only)
        # A pool has a thread at least, which is started with the first job.
        self._pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="toolrunner-job")
        self._thread = threading.Thread(target=self._work, name="toolrunner-jobs", daemon=True)
        self._lock = threading.Lock()
        # By the marks of their claims: a job whose attempt was lost may be here once more.
        self._running: dict[str, _Running] = {}
        # What the store would not take, as on a full disk. Each keeps its place until it does.
        self._unsettled: list[_Ending] = []
        self._changed = threading.Event()
        self._asked = threading.Event()  # to look for jobs; without it a change is progress alone
        self._draining = threading.Event()
        self._next_recovery = self._next_cleaning = 0.0
        self._busy_seconds = 0.0
        self._told: dict[Stranded, bool] = {}
        trouble = partial(Trouble, _LOG, StoreError)
        self._taking = trouble(
            "no jobs are taken, as the job store failed", "jobs are taken again: the store works"
        )
        self._settling = trouble(
            "jobs that have run cannot be ended; what they brought is held, and not run again",
            "the jobs that could not be ended have their ends",
        )
        self._reading = trouble(
            "no jobs are taken, as their payloads cannot be read", "payloads can be read again"
        )
        self._starting = Trouble(
            _LOG,
            NoThreadError,
            "no jobs are taken, as there is nothing left to run them in",
            "jobs are taken again: they can be run",
        )
        self._looking = Trouble(
            _LOG,
            OSError,
            "no jobs are taken, as nobody can find out what this host can isolate",
            "jobs are taken again: what this host can isolate is known",
        )
        self._telling = trouble("progress of jobs cannot be told", "progress of jobs is told again")
        self._cleaning = trouble(
            "what is kept no longer cannot be deleted", "what is kept no longer is deleted again"
        )

    def start(self) -> None:
        """Begin to take jobs."""
        self._store.listen(self.wake)
        self._thread.start()

    def wake(self) -> None:
        """Look for jobs now: one has been stored, or cancelled. It does not wait."""
        self._asked.set()
        self._changed.set()

    def runnable(self) -> dict[str, str]:
        """Return the version of each plugin whose jobs are taken here now.

        Raises OSError while nobody can find out what this host can isolate.
        """
        runnable = self._analysis.runnable() if self._most else {}
        if not self._only:
            return runnable
        return {
            name: version
            for name, version in runnable.items()
            if name in self._only or name.partition(":")[0] in self._only
        }

    def drain(self, seconds: float) -> None:
        """Take no more jobs; wait for those that run, and end what still does.

        What has begun is lost by that, as by a death: its ``retries`` say whether it runs again.
        """
        self._draining.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join()
        deadline = time.monotonic() + seconds
        while self._is_busy() and (left := deadline - time.monotonic()) > 0:
            self._changed.wait(min(left, self._pause_seconds(), self._telling_seconds()))
            self._changed.clear()
            self._telling.attempt(self._tell_all_held)
            if self._taking.is_due:
                self._taking.attempt(self._end_withdrawn)
            self._settle_if_due()
        with self._lock:
            for running in self._running.values():
                running.is_interrupted = True
                running.call.cancel(CancelledBy.SERVER)
        self._pool.shutdown()
        self._settling.attempt(self._settle)

    def _work(self) -> None:
        next_look = 0.0
        while not self._draining.is_set():
            self._telling.attempt(self._tell_all_held)
            if self._asked.is_set() or time.monotonic() >= next_look:
                self._asked.clear()
                self._settle_if_due()
                # One attempt, so that what works does not hide what fails.
                if self._taking.is_due and self._taking.attempt(self._look_after_and_take) is None:
                    self._next_recovery = 0.0  # it may have claimed what it does not know of
                next_look = time.monotonic() + self._pause_seconds()
            left = max(0.0, next_look - time.monotonic())
            self._changed.wait(min(left, self._telling_seconds()))
            self._changed.clear()

    def _pause_seconds(self) -> float:
        """Return after how long to look again, if nobody calls."""
        troubles = (self._taking, self._reading, self._starting)
        works = not self._unsettled and all(one.is_due for one in troubles)
        if works and time.monotonic() < self._next_cleaning:
            return self._store.tick_seconds
        return min(self._store.tick_seconds, _SOON_SECONDS)

    def _look_after_and_take(self) -> bool:
        now = time.monotonic()
        if now >= self._next_recovery:
            found = self._store.recover(endings.lost)
            if found:
                _LOG.warning("%d jobs were running in a process that has died", found)
            if unknown := self._store.take_back_unknown(self._claims(), endings.unheard):
                _LOG.warning("%d jobs were claimed here, or had ended, and nobody knew", unknown)
            self._tell_stranded()
            self._next_recovery = now + RECOVER_SECONDS
        if now >= self._next_cleaning:
            # In between are the turns of jobs: what many have left goes a part at a time.
            self._next_cleaning = now + (0.0 if self._clean() else CLEAN_SECONDS)
        self._end_withdrawn()
        while self._has_room() and self._take_one():
            pass
        return True

    def _has_room(self) -> bool:
        is_full = len(self._running) + len(self._unsettled) >= self._most
        is_due = self._reading.is_due and self._starting.is_due and self._looking.is_due
        return is_due and not is_full and not self._draining.is_set()

    def _clean(self) -> bool:
        """Delete a part of what is kept no longer; whether there may be more."""
        gone = 0
        try:
            gone = self._store.clean()
        except AwayError as error:
            self._cleaning.failed(error)
        except StoreError:
            raise
        except OSError as error:  # files that stay longer than they should hold up no job
            self._cleaning.failed(error)
        else:
            self._cleaning.worked()
        return gone > 0

    def _tell_stranded(self) -> None:
        """Say once what waits and nobody can run; not at first sight, while servers start."""
        seen = {Stranded(one.plugin, one.version, 0): one.jobs for one in self._store.stranded()}
        for what, jobs in seen.items():
            if self._told.get(what) is False:
                _LOG.warning(
                    "jobs wait for %s, which no server can run now (%d so far); %s"
                    " (`toolrunner jobs cancel --all --plugin %s --status PENDING`%s)",
                    f"{what.plugin} {what.version or ''}".rstrip(),
                    jobs,
                    self._why(what),
                    what.plugin,
                    ", with those for other versions" if what.version else "",
                )
        self._told = {what: what in self._told for what in seen}

    def _why(self, what: Stranded) -> str:
        """Return in words why nobody can run it, as far as is known here, and what to do."""
        why = self._analysis.suspended(what.plugin, what.version)
        if why:
            return f"it {why}, or cancel them"
        if not self._most:
            return (
                "this one runs no jobs (job_threads = 0): start a worker that can, or cancel them"
            )
        try:
            why, here = self._analysis.unfit(what.plugin), self.runnable().get(what.plugin)
        except OSError as error:  # who takes jobs meets the same
            why, here = str(error), None
        if why:
            return f"{why}; or start one that can, or cancel them"
        found = "it takes no calls here" if here is None else f"{here or 'no version'} is here"
        return f"{found}: start one that can, or cancel them"

    def _end_withdrawn(self) -> bool:
        if not self._running:
            return False
        withdrawn = self._store.withdrawn()
        for running in self._all_running():
            if (by := withdrawn.get(running.claim.job.id)) is not None:
                running.call.cancel(by)
        return True

    def _all_running(self) -> list[_Running]:
        with self._lock:
            return list(self._running.values())

    def _claims(self) -> list[Claim]:
        """Return all that are known here. One that ends goes from the first to the second."""
        running = [one.claim for one in self._all_running()]
        return running + [one.running.claim for one in list(self._unsettled)]

    def _take_one(self) -> bool:
        runnable = self._looking.attempt(self.runnable)
        claim = None if runnable is None else self._store.claim(runnable)
        if claim is None:
            return False
        call = Call(call_id=endings.call_id(claim.job), caller=claim.job.caller)
        call.door, call.traceparent = "job", claim.job.traceparent
        running = _Running(claim, call)
        call.on_progress = lambda fraction, message: self._tell(running, fraction, message)
        call.on_begin = partial(self._begin, claim)
        with self._lock:
            self._running[claim.mark] = running
        try:
            future = submit(self._pool, partial(self._run, running))
        except Exception as error:
            self._end(running, partial(self._store.give_back, claim))
            with self._lock:
                del self._running[claim.mark]
            if not isinstance(error, NoThreadError):
                raise
            self._starting.failed(error)
            return False
        self._starting.worked()
        future.add_done_callback(partial(self._left, running))
        return True

    def _begin(self, claim: Claim) -> None:
        """Note that a call begins, whose turn has come; refuse it where that cannot be."""
        try:
            if self._store.begin(claim):
                return
            message = f"job {claim.job.id} is another process's by now"
        except StoreError as error:
            message = f"that job {claim.job.id} begins cannot be written down: {error}"
        raise GovernedError(ErrorType.OVERLOADED, message, {"retry_after_seconds": 1})

    def _run(self, running: _Running) -> None:
        claim = running.claim
        try:
            payload = self._store.payload(claim)
        except UnreadableError as damaged:
            self._end(running, self._failed(claim, endings.unreadable(claim.job, damaged)))
            return
        except OSError as failed:
            self._reading.failed(failed)
            self._end(running, partial(self._store.give_back, claim))
            return
        self._reading.worked()
        try:
            self._run_with(running, payload)
        finally:
            let_go(payload)

    def _run_with(self, running: _Running, payload: Mapping[str, Any]) -> None:
        claim = running.claim
        result, error = self._analysis.analyze(claim.job.plugin, payload, call=running.call)
        if error is None:
            self._busy_seconds = 0.0
            artifacts = running.call.artifacts
            self._end(
                running,
                partial(
                    self._store.finish, claim, JobStatus.SUCCESS, result=result, artifacts=artifacts
                ),
            )
        else:
            self._end(running, self._ending(running, error))

    def _left(self, running: _Running, future: Future[None]) -> None:
        """Note that a job runs no more, in the thread that ran it."""
        claim = running.claim
        bug = future.exception()
        if bug is not None:
            # The job is RUNNING and this process alive: nobody else would ever end it.
            _LOG.error("job %s met a bug", claim.job.id, exc_info=bug)
            self._end(running, self._lost(claim, endings.buggy(claim.job, bug)))
        with self._lock:
            del self._running[claim.mark]
        self.wake()

    def _ending(self, running: _Running, error: Envelope) -> Callable[[], object]:
        """Return the step that ends a job which has failed, or has not run."""
        claim, public = running.claim, error["error"]
        kind = public["type"]
        is_interrupted = kind == ErrorType.CANCELLED and running.is_interrupted
        if endings.has_begun(running.call):
            if is_interrupted:
                return self._lost(claim, endings.stopped(claim.job))
            if endings.is_of_the_host(public):  # such as its out-of-memory killer
                return self._lost(claim, endings.for_the_caller(public))
        elif is_interrupted or (endings.was_refused(public) and self._may_wait(claim, public)):
            return partial(self._store.give_back, claim)
        status = JobStatus.CANCELLED if kind == ErrorType.CANCELLED else JobStatus.FAILED
        return partial(self._store.finish, claim, status, error=endings.for_the_caller(public))

    def _may_wait(self, claim: Claim, error: GovernedErrorBody) -> bool:
        """Whether a job that was refused may find another time, or another server.

        Not if it would come here again at once, to be refused for the same reason.
        """
        if error["type"] == ErrorType.OVERLOADED:
            # The calls that somebody waits for come first. It keeps its place among the jobs.
            self._busy_seconds = min(
                _MOST_BUSY_SECONDS, 2 * self._busy_seconds or _FIRST_BUSY_SECONDS
            )
            self._draining.wait(self._busy_seconds)
            return True
        is_suspended = "suspended_by" in error["details"]
        return is_suspended or claim.job.plugin not in self.runnable()

    def _failed(self, claim: Claim, error: dict[str, Any]) -> Callable[[], object]:
        return partial(self._store.finish, claim, JobStatus.FAILED, error=error)

    def _lost(self, claim: Claim, error: dict[str, Any]) -> Callable[[], object]:
        return partial(self._store.abandon, claim, error)

    def _end(self, running: _Running, step: Callable[[], object]) -> None:
        """End a job now, or as soon as the store takes it."""
        claim, ending = running.claim, _Ending(running, step)
        try:
            self._try_to_end(ending)
        except Exception as error:  # noqa: BLE001 - logged, and tried again
            words = "job %s could not be ended; it will be when it can be: %s"
            trace = None if isinstance(error, StoreError) else error
            _LOG.error(words, claim.job.id, error, exc_info=trace)
            self._unsettled.append(ending)

    def _try_to_end(self, ending: _Ending) -> None:
        """End a job, with less than it has brought if that cannot be kept."""
        claim, job = ending.running.claim, ending.running.claim.job
        try:
            # What cannot be told changes nothing of the end, which meets the same and says so.
            with ending.running.telling, suppress(StoreError):
                self._tell_newest(ending.running)
            ending.step()
        except StoreError:
            raise
        except NotKeptError as failed:  # as on a full disk: less may find room
            _LOG.error("what job %s has brought could not be kept in %s", job.id, failed)
            ending.step = self._failed(claim, endings.not_kept(job, failed))
            ending.step()
        except Exception as bug:  # noqa: BLE001 - logged, and what the job ends with
            _LOG.exception("job %s met a bug at its end", job.id)
            ending.step = self._lost(claim, endings.buggy(job, bug))
            ending.step()

    def _is_busy(self) -> bool:
        return bool(self._running or self._unsettled)

    def _settle_if_due(self) -> None:
        if self._unsettled and self._settling.is_due:
            self._settling.attempt(self._settle)

    def _settle(self) -> bool:
        """End the jobs that could not be ended; those that cannot be now are kept."""
        failed: Exception | None = None
        for ending in list(self._unsettled):
            try:
                self._try_to_end(ending)
            except Exception as error:  # noqa: BLE001 - raised when the others have been tried
                failed = error
            else:
                self._unsettled.remove(ending)
        if failed is not None:
            raise failed
        return True

    def _tell(self, running: _Running, fraction: float, message: str) -> None:
        """Have a plugin's progress told, the newest, not as fast as a hostile one can report it.

        Who watches the call waits for no store: its limits would wait too.
        """
        is_first = running.newest is None
        running.newest = (fraction, message)
        if is_first:
            self._changed.set()

    def _tell_all_held(self) -> bool:
        for running in self._all_running():
            with running.telling:
                self._tell_if_due(running)
        return True

    def _telling_seconds(self) -> float:
        """Return after how long to look again for progress that is held back."""
        is_held = any(running.newest is not None for running in self._all_running())
        return _PROGRESS_SECONDS if is_held else threading.TIMEOUT_MAX

    def _tell_if_due(self, running: _Running) -> None:
        if time.monotonic() - running.told >= _PROGRESS_SECONDS and self._taking.is_due:
            with suppress(StoreError):  # who takes jobs meets the same, and says so
                self._tell_newest(running)

    def _tell_newest(self, running: _Running) -> None:
        """Tell progress that is held back, if there is any; it stays until the store has it."""
        newest = running.newest
        if newest is not None:
            running.told = time.monotonic()
            self._store.progress(running.claim, *newest)
            if running.newest is newest:
                running.newest = None
