"""Runs stored jobs, a few at once, for as long as this process serves.

One thread takes jobs from the store while there is room, listens for those that are cancelled, and
looks after what dead processes have left. Others run one job each, through the service that every
call takes. Which job is next is the store's to say.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from toolrunner.runner.call import Call
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.errors import ErrorType, build_error_envelope
from toolrunner.runner.jobs.job import Job, JobStatus
from toolrunner.runner.jobs.store import Claim, JobStore
from toolrunner.runner.tool_runner import MaybeResult

_LOG = logging.getLogger("toolrunner.jobs")

# How soon a job is seen that another process has stored, or cancelled.
TICK_SECONDS = 0.1
RECOVER_SECONDS = 2.0
CLEAN_SECONDS = 60.0
_PROGRESS_SECONDS = 0.1
_BUSY_PAUSE_SECONDS = 0.2


class Analysis(Protocol):
    """What runs a job: AnalysisService, through which every call of a plugin comes in."""

    def analyze(
        self, plugin_name: str, payload: Mapping[str, Any], *, call: Call | None = None
    ) -> tuple[MaybeResult, Envelope | None]:
        """Run a plugin once; return ``(result, None)`` or ``(None, envelope)``."""


@dataclass(slots=True)
class _Running:
    claim: Claim
    call: Call
    is_requeued: bool = False
    told: float = field(default=-1.0)


class JobDispatcher:
    """Takes jobs from a store and runs them; ``start`` it once, ``drain`` it in the end."""

    def __init__(self, store: JobStore, analysis: Analysis, *, threads: int) -> None:
        """``threads`` jobs run at once."""
        self._store = store
        self._analysis = analysis
        self._most = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="toolrunner-job")
        self._thread = threading.Thread(target=self._work, name="toolrunner-jobs", daemon=True)
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        # What the store would not take, as on a full disk.
        self._unsettled: list[Callable[[], object]] = []
        self._changed = threading.Event()
        self._is_draining = False
        self._next_recovery = self._next_cleaning = 0.0

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    def wake(self) -> None:
        """Look for jobs now: one has been stored."""
        self._changed.set()

    def drain(self, seconds: float) -> None:
        """Take no more jobs; wait for those that run, then give the rest back to the store."""
        self._is_draining = True
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join()
        deadline = time.monotonic() + seconds
        while self._running and (left := deadline - time.monotonic()) > 0:
            self._changed.wait(min(left, TICK_SECONDS))
            self._changed.clear()
            self._guarded(self._end_withdrawn)
        with self._lock:
            for running in self._running.values():
                running.is_requeued = True
                running.call.cancel()
        self._pool.shutdown()
        self._guarded(self._settle)

    def _work(self) -> None:
        while not self._is_draining:
            self._guarded(self._look_after)
            while len(self._running) < self._most and self._guarded(self._take_one):
                pass
            self._changed.wait(TICK_SECONDS)
            self._changed.clear()

    def _guarded(self, step: Callable[[], bool]) -> bool:
        """Do a step; a store that fails for a moment must not end the serving of jobs."""
        try:
            return step()
        except (OSError, sqlite3.Error):
            _LOG.exception("the job store failed; jobs go on as soon as it works again")
            return False

    def _look_after(self) -> bool:
        self._settle()
        now = time.monotonic()
        if now >= self._next_recovery:
            self._next_recovery = now + RECOVER_SECONDS
            found = self._store.recover(_lost)
            if found:
                _LOG.warning("%d jobs were running in a process that has died", found)
        if now >= self._next_cleaning:
            self._next_cleaning = now + CLEAN_SECONDS
            self._store.clean()
        return self._end_withdrawn()

    def _end_withdrawn(self) -> bool:
        if not self._running:
            return False
        for job_id in self._store.withdrawn():
            with self._lock:
                running = self._running.get(job_id)
            if running is not None:
                running.call.cancel()
        return True

    def _take_one(self) -> bool:
        claim = None if self._is_draining else self._store.claim()
        if claim is None:
            return False
        running = _Running(claim, Call(call_id=_call_id(claim.job), caller=claim.job.caller))
        running.call.on_progress = lambda fraction, message: self._tell(running, fraction, message)
        with self._lock:
            self._running[claim.job.id] = running
        future = self._pool.submit(self._run, running)
        future.add_done_callback(partial(self._left, running))
        return True

    def _run(self, running: _Running) -> None:
        claim = running.claim
        result, error = self._analysis.analyze(claim.job.plugin, claim.payload, call=running.call)
        if error is None:
            artifacts = running.call.artifacts
            ending: Callable[[], object] = partial(
                self._store.finish, claim, JobStatus.SUCCESS, result=result, artifacts=artifacts
            )
        else:
            ending = self._ending(running, error)
        try:
            try:
                ending()
            except OSError as failed:  # as on a full disk: less may find room
                _LOG.exception("what job %s has brought could not be kept", claim.job.id)
                ending = self._failed(claim, _not_kept(claim.job, failed))
                ending()
        except (OSError, sqlite3.Error):
            _LOG.exception("job %s could not be ended; it will be when it can be", claim.job.id)
            self._unsettled.append(ending)

    def _left(self, running: _Running, future: Future[None]) -> None:
        """Note that a job runs no more, in the thread that ran it."""
        job = running.claim.job
        bug = future.exception()
        if bug is not None:
            # The job stays RUNNING and this process alive: nobody else would ever end it.
            _LOG.error("job %s could not be ended; it is tried again", job.id, exc_info=bug)
            self._unsettled.append(partial(self._store.give_back, running.claim))
        with self._lock:
            del self._running[job.id]
        self._changed.set()

    def _ending(self, running: _Running, error: Envelope) -> Callable[[], object]:
        """Return the step that ends a job which has failed, or has not run."""
        claim = running.claim
        kind = error["error"]["type"]
        if kind == ErrorType.CANCELLED and running.is_requeued:
            return partial(self._store.give_back, claim)
        if kind == ErrorType.OVERLOADED:
            # The calls that somebody waits for come first. It keeps its place among the jobs.
            time.sleep(_BUSY_PAUSE_SECONDS)
            return partial(self._store.give_back, claim)
        if kind == ErrorType.CANCELLED:
            return partial(self._store.finish, claim, JobStatus.CANCELLED, error=_public(error))
        return self._failed(claim, error)

    def _failed(self, claim: Claim, error: Envelope) -> Callable[[], object]:
        return partial(self._store.finish, claim, JobStatus.FAILED, error=_public(error))

    def _settle(self) -> bool:
        """End the jobs that could not be ended; those that cannot be now are kept."""
        while self._unsettled:
            self._unsettled[0]()
            del self._unsettled[0]
        return True

    def _tell(self, running: _Running, fraction: float, message: str) -> None:
        """Pass a plugin's progress on, but not as fast as a hostile one can report it."""
        now = time.monotonic()
        if now - running.told >= _PROGRESS_SECONDS:
            running.told = now
            self._guarded(lambda: self._noted(running, fraction, message))

    def _noted(self, running: _Running, fraction: float, message: str) -> bool:
        self._store.progress(running.claim, fraction, message)
        return True


def _call_id(job: Job) -> str:
    """Return a call's id: the job's own for its first attempt, so that both are found as one."""
    return job.id if job.attempts == 1 else f"{job.id[:-4]}{job.attempts:04x}"


def _public(envelope: Envelope) -> dict[str, Any]:
    """Return what of an envelope may be kept for the caller."""
    error: dict[str, Any] = dict(envelope["error"])
    error["details"] = {k: v for k, v in error["details"].items() if k != "log_tail"}
    return error


def _lost(job: Job) -> dict[str, Any]:
    message = (
        f"the server ended while the job ran, in attempt {job.attempts}; its retries ("
        f"{job.retries}) do not allow another one"
    )
    return _public(
        build_error_envelope(ErrorType.INTERNAL_ERROR, message, plugin=job.plugin, call_id=job.id)
    )


def _not_kept(job: Job, failed: OSError) -> Envelope:
    message = (
        f"the call has ended, but its result could not be kept in {failed.filename}: "
        f"{failed.strerror}; make room there, and leave the job again"
    )
    return build_error_envelope(
        ErrorType.SANDBOX_ERROR, message, plugin=job.plugin, call_id=_call_id(job)
    )
