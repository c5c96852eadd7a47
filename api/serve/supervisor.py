"""Keeps worker processes alive: starts, replaces, reloads, drains and ends them.

``prepared`` makes it with what a worker does, and with the socket that all of them share, if there
is one. Workers that cannot start end it only before all have been ready; after that it goes on
trying. It serves no request, and starts no thread but those that receive its workers' records. Its
loop sleeps until a worker, a signal or a delay wakes it.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from toolrunner.api.serve import killed
from toolrunner.api.serve.backoff import MOST_SECONDS, Backoff
from toolrunner.api.serve.child import MOST_TOLD, WorkerContext, run_child
from toolrunner.api.serve.logs import WorkerLog
from toolrunner.api.serve.pipes import lifeline, nothing_left_open, signal_pipe
from toolrunner.api.serve.silence import Silence
from toolrunner.api.serve.ticker import Ticker
from toolrunner.runner.errors import harmless

_LOG = logging.getLogger("toolrunner.serve")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Other servers reopen their logs by these; by default they would end this one.
_UNUSED = (signal.SIGUSR1, signal.SIGUSR2)
# Exit statuses.
DONE = 0
HOST_FAULT = 3
INTERRUPTED = 130
KILLED = 143
# A worker may need a little more than what its calls may take.
GRACE_SECONDS = 5.0
TRIES = 3
_MAX_REASON_BYTES = 4096


@dataclass
class _Place:
    """One of the workers that there should be, and the process that is it now."""

    number: int
    backoff: Backoff = field(default_factory=Backoff)
    process: BaseProcess | None = None
    log: WorkerLog | None = None
    words: Connection | None = None
    started: float = 0.0
    start_at: float = 0.0
    is_ready: bool = False
    reason: str = ""
    failures: int = 0
    # Of one that says that it lives; and in which way it was hung, once it is killed for that.
    silence: Silence | None = None
    hung: str = ""
    # Why workers could not start since one was ready, as far as the log has it.
    told: set[str] = field(default_factory=set)


class Supervisor:
    """Runs ``workers`` processes of ``run_worker`` until a signal ends them all."""

    def __init__(
        self,
        listener: socket.socket | None,
        run_worker: Callable[[WorkerContext], None],
        *,
        workers: int,
        drain_seconds: float,
        drain_delay_seconds: float = 0.0,
        handler: logging.Handler,
        on_ready: Callable[[], None],
        on_dead: Callable[[int, int | None], str],
        on_reload: Callable[[], bool] = lambda: True,
        hung_seconds: float = 0.0,
        ticker: Ticker | None = None,
    ) -> None:
        """``on_ready`` is called once, when all workers are.

        ``on_dead`` is, with each dead one's pid and how it ended, ``None`` for one killed here; it
        returns in words what was lost with it.
        ``on_reload`` says whether the workers are to reload; those to come are made after it.
        ``handler`` is where the log goes. ``hung_seconds``: of workers that say that they live, one
        that could have, and has not for so long, is killed; 0 for none. ``ticker``: what is done
        now and then, until the end.
        """
        self._listener = listener
        self._run_worker = run_worker
        self._places = [_Place(number) for number in range(workers)]
        self._drain_seconds = drain_seconds
        self._drain_delay_seconds = drain_delay_seconds
        self._handler = handler
        self._on_ready = on_ready
        self._on_dead = on_dead
        self._on_reload = on_reload
        self._hung_seconds = hung_seconds
        self._ticker = ticker
        self._reloaded = 0.0
        self._fork = multiprocessing.get_context("fork")
        self._is_announced = False
        self._kill_at: float | None = None
        self._status: int = DONE
        self._interrupts = 0

    def run(self) -> int:
        """Return the exit status, once no worker is left."""
        # The library makes its queues in the default context, which must be of the same kind.
        multiprocessing.set_start_method("fork", force=True)
        with (
            lifeline() as (self._lifeline, self._lifeline_end),
            signal_pipe((*_SIGNALS, *_UNUSED)) as signals,
        ):
            self._signal_pipe = signals
            try:
                while self._kill_at is None or any(place.process for place in self._places):
                    self._step(signals)
            finally:
                self._kill_all()
        return self._status

    def _step(self, signals: int) -> None:
        now = time.monotonic()
        if self._kill_at is None:
            self._start_all(now)
        elif now >= self._kill_at:
            _LOG.warning("workers that did not end in time are killed")
            self._kill_all()
            return
        for woken in wait(self._sources(signals), self._timeout()):
            if woken == signals:
                self._take_signals(signals)
        if self._ticker is not None:
            self._ticker.look()
        for place in self._places:
            self._hear(place)
            self._end_if_hung(place)
            if place.process is not None and not place.process.is_alive():
                self._bury(place)

    def _sources(self, signals: int) -> list[Connection | int]:
        sources: list[Connection | int] = [signals]
        for place in self._places:
            if place.process is not None:
                sources.append(place.process.sentinel)
            if place.words is not None:
                sources.append(place.words)
        return sources

    def _timeout(self) -> float | None:
        times = [self._kill_at] if self._kill_at is not None else []
        if self._kill_at is None:
            times += [place.start_at for place in self._places if place.process is None]
            looks = [place.silence.look_seconds for place in self._places if place.silence]
            times += [time.monotonic() + seconds for seconds in looks]
            times += [self._ticker.due] if self._ticker is not None else []
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _start_all(self, now: float) -> None:
        for place in self._places:
            if place.process is None and now >= place.start_at:
                self._start(place)
                if self._kill_at is not None:  # it cannot be, and so ends all
                    return

    def _start(self, place: _Place) -> None:
        try:
            self._fork_worker(place)
        except (OSError, RuntimeError) as error:  # out of descriptors, processes, threads
            self._clear(place)
            self._try_later(place, f"could not be forked: {error}", lived_seconds=0.0)

    def _fork_worker(self, place: _Place) -> None:
        place.is_ready, place.reason, place.hung = False, "", ""
        place.log = WorkerLog(self._handler, f"log-of-worker-{place.number}")
        try:
            place.words, said = self._fork.Pipe(duplex=False)
        except OSError:
            place.log.forked()
            raise
        context = WorkerContext(place.number, self._listener, self._lifeline, said, self._told())
        others = [other for other in self._places if other is not place]

        def leave_supervisor() -> None:
            """Close, in the worker, what is the supervisor's alone."""
            os.close(self._lifeline_end)
            os.close(self._signal_pipe)
            for other in others:
                if other.log is not None:
                    other.log.left()
                if other.words is not None:
                    other.words.close()
            assert place.log is not None
            assert place.words is not None
            place.words.close()
            place.log.entered(logging.getLogger().level)

        arguments = (
            context,
            self._run_worker,
            leave_supervisor,
            self._drain_seconds,
            self._handler,
        )
        # A signal between the fork and the worker's own handlers would be taken for one of ours.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process = self._fork.Process(
                target=run_child, args=arguments, name=f"worker-{place.number}"
            )
            with nothing_left_open():
                process.start()
            place.process = process
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            said.close()
            place.log.forked()
        place.started = time.monotonic()

    def _hear(self, place: _Place) -> None:
        """Take what a worker says: nothing when it is ready, and lives, or why it cannot be."""
        while place.words is not None and place.words.poll():
            try:
                said = place.words.recv_bytes(_MAX_REASON_BYTES).decode("utf-8", "replace")
            except (EOFError, OSError):
                place.words.close()
                place.words = place.silence = None
                return
            if place.is_ready:
                self._lives(place)
            else:
                self._has_begun(place, said)

    def _lives(self, place: _Place) -> None:
        assert place.process is not None
        assert place.process.pid is not None
        if place.silence is None and self._hung_seconds:
            place.silence = Silence(place.process.pid, self._hung_seconds)
        if place.silence is not None:
            place.silence.heard()

    def _end_if_hung(self, place: _Place) -> None:
        if place.silence is None or place.hung or self._kill_at is not None:
            return
        place.hung = place.silence.hung(time.monotonic())
        if place.hung:
            assert place.process is not None
            place.process.kill()

    def _has_begun(self, place: _Place, reason: str) -> None:
        """Note that a worker is ready, or why it cannot be."""
        place.reason, place.is_ready = reason, not reason
        if place.is_ready:
            place.failures = 0
            place.told.clear()
            assert place.process is not None
            _LOG.info("worker %d (process %d) is ready", place.number, place.process.pid)
            if place.started < self._reloaded:  # it did not hear of it
                self._signal(place, signal.SIGHUP)
            if not self._is_announced and all(other.is_ready for other in self._places):
                self._is_announced = True
                self._on_ready()

    def _bury(self, place: _Place) -> None:
        """Clear away after a dead worker, and say when the next one comes."""
        self._hear(place)  # its last words may have come since
        process, was_ready = place.process, place.is_ready
        assert process is not None
        pid = process.pid
        assert pid is not None
        process.join()
        status = process.exitcode
        why = _ending(status) + (f": {place.reason}" if place.reason else "")
        if place.hung and status == -signal.SIGKILL:
            status, why = None, f"was hung, and is killed: {place.hung}"
        lived = time.monotonic() - place.started
        self._clear(place)
        lost = self._on_dead(pid, status)
        if self._kill_at is not None:
            return
        if status == -signal.SIGKILL:
            why += killed.told()
        if not was_ready:
            self._try_later(place, why, lived)
            return
        delay = place.backoff.after(lived)
        place.start_at = time.monotonic() + delay
        _LOG.error(
            "worker %d (process %d) %s; %s; it is replaced in %.1f s",
            place.number,
            pid,
            harmless(why),
            lost,
            delay,
        )

    def _try_later(self, place: _Place, why: str, lived_seconds: float) -> None:
        """Say when a worker that could not start is tried again, or end a server that never was."""
        place.failures += 1
        # Where none has ever served, one that could say why will not do better the next time.
        is_hopeless = place.reason or place.failures >= TRIES
        if is_hopeless and not self._is_announced:
            _LOG.critical("worker %d cannot be started; it %s", place.number, harmless(why))
            self._status = HOST_FAULT
            self._drain()
            return
        place.start_at = time.monotonic() + place.backoff.after(lived_seconds)
        reason, told = place.reason or why, self._told()
        is_news = reason not in told and len(told) < MOST_TOLD
        if reason in told or is_news:
            place.told.add(reason)
        _LOG.log(
            logging.ERROR if is_news else logging.DEBUG,
            "worker %d %s; it is tried again until it starts, at least every %g s",
            place.number,
            harmless(why),
            MOST_SECONDS,
        )

    def _told(self) -> frozenset[str]:
        """Return why workers cannot start now, as far as the log has it."""
        return frozenset().union(*(place.told for place in self._places))

    def _clear(self, place: _Place) -> None:
        if place.words is not None:
            place.words.close()
        if place.log is not None:
            place.log.close()
        if place.process is not None:
            place.process.close()
        place.process = place.log = place.words = place.silence = None
        place.is_ready = False

    def _take_signals(self, signals: int) -> None:
        numbers = os.read(signals, 512)
        for number in numbers:
            if number in {signal.SIGTERM, signal.SIGINT}:
                self._end(number)
            elif number != signal.SIGHUP:
                name = signal.Signals(number).name
                _LOG.info("%s means nothing here; SIGHUP reads settings and plugins anew", name)
        # Once for all that have come meanwhile, and not at the end.
        if signal.SIGHUP in numbers and self._kill_at is None and self._on_reload():
            _LOG.info("a reload: the workers load their plugins again")
            self._reloaded = time.monotonic()
            self._signal_all(signal.SIGHUP)

    def _end(self, number: int) -> None:
        self._interrupts += number == signal.SIGINT
        if self._kill_at is None:
            name, delay = signal.Signals(number).name, self._drain_delay_seconds
            served = f"/readyz is 503 and requests are served for {delay:g} s; then " * bool(delay)
            _LOG.info("%s: %swhat runs may end within %g s", name, served, self._drain_seconds)
            self._drain()
        else:
            _LOG.warning("a second signal: the workers are killed")
            self._kill_at = 0.0
        if self._interrupts > 1 and self._status == DONE:
            self._status = INTERRUPTED

    def _drain(self) -> None:
        seconds = self._drain_delay_seconds + self._drain_seconds + GRACE_SECONDS
        self._kill_at = time.monotonic() + seconds
        # Nobody waits in the queue of a socket that nobody will accept from: it is the workers'.
        if self._listener is not None:
            self._listener.close()
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: int) -> None:
        for place in self._places:
            self._signal(place, number)

    def _signal(self, place: _Place, number: int) -> None:
        # The pid stays ours until the worker is joined.
        if place.process is not None and place.process.is_alive():
            assert place.process.pid is not None
            with contextlib.suppress(ProcessLookupError):
                os.kill(place.process.pid, number)

    def _kill_all(self) -> None:
        for place in self._places:
            if place.process is not None:
                pid = place.process.pid
                if place.process.is_alive() and self._status == DONE:
                    self._status = KILLED  # it had something to finish
                place.process.kill()
                place.process.join()
                self._clear(place)
                if pid is not None:
                    self._on_dead(pid, None)


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        try:
            return f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"was ended by signal {-status}"
    return f"ended with status {status}"
