"""The first and last things that a worker process does, whatever it serves.

Run by the supervisor right after each fork. A worker outlives neither the signal to end nor its
supervisor: it waits at the end of a pipe that only the supervisor keeps open.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection

from toolrunner.api.serve.logs import install
from toolrunner.plugins.discovery import DiscoveryError
from toolrunner.runner.errors import cut_end, harmless
from toolrunner.runner.settings.settings import SettingsError
from toolrunner.sandbox.shortage import is_shortage, started, told

_LOG = logging.getLogger("toolrunner.serve")
MAX_REASON_BYTES = 2048
MOST_TOLD = 20  # reasons: some have words that differ each time
GRACE_SECONDS = 3.0
# What keeps a worker from starting and is no bug.
_EXPLAINED = (OSError, sqlite3.Error, SettingsError, DiscoveryError)


@dataclass(frozen=True)
class WorkerContext:
    """What a worker has of its supervisor. SIGTERM asks it to end, SIGHUP to reload.

    ``told``: why its predecessors could not start, as far as the log has it.
    """

    number: int
    listener: socket.socket | None
    lifeline: int
    words: Connection
    told: frozenset[str] = frozenset()
    # Set once the supervisor has gone, before SIGTERM.
    is_alone: threading.Event = field(default_factory=threading.Event)
    is_ready: threading.Event = field(default_factory=threading.Event)

    def ready(self) -> None:
        """Say that this worker does its work now."""
        self.words.send_bytes(b"")
        # A supervisor that does not read holds up no request.
        os.set_blocking(self.words.fileno(), False)
        self.is_ready.set()

    def lives(self) -> None:
        """Say that this worker lives; who has begun says it every ``BEAT_SECONDS``."""
        if not self.words.closed:
            with contextlib.suppress(OSError):  # it hears none, or has enough to read
                self.words.send_bytes(b"")

    def leaves(self) -> None:
        """Say nothing more: this worker ends, which may take as long as it takes."""
        self.words.close()

    def failed(self, reason: str) -> None:
        """Say why this worker cannot start; after ``ready`` there is nobody to tell."""
        if not self.is_ready.is_set() and not self.words.closed:
            self.words.send_bytes(_in_words(reason).encode())
            self.words.close()

    def is_told(self, reason: str) -> bool:
        """Whether the log has this reason already, with its traceback."""
        return len(self.told) >= MOST_TOLD or _in_words(reason) in self.told


def run_child(
    context: WorkerContext,
    run_worker: Callable[[WorkerContext], None],
    leave_supervisor: Callable[[], None],
    drain_seconds: float,
    handler: logging.Handler,
) -> None:
    """Be a worker: run ``run_worker`` and end, with status 1 after an exception.

    ``handler``: the supervisor's own, for when it has gone.
    """
    signal.set_wakeup_fd(-1)
    # Ctrl-C goes to the whole group: the supervisor says what is to be done about it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Until it serves, a worker has nothing to finish.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        leave_supervisor()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        started(partial(_outlive_nobody, context, drain_seconds, handler), "lifeline")
        run_worker(context)
    except Exception as error:  # noqa: BLE001 - logged, and told to the supervisor
        reason = told(error) or type(error).__name__
        # What its own words explain is told once, by the supervisor.
        is_quiet = isinstance(error, _EXPLAINED) or is_shortage(error) or context.is_told(reason)
        level = logging.DEBUG if is_quiet else logging.ERROR
        _LOG.log(level, "worker %d failed", context.number, exc_info=error)
        context.failed(reason)
        sys.exit(1)


def _in_words(reason: str) -> str:
    return cut_end(harmless(reason), MAX_REASON_BYTES)


def _outlive_nobody(context: WorkerContext, drain_seconds: float, handler: logging.Handler) -> None:
    os.read(context.lifeline, 1)
    # What received this worker's records has gone; where they went is still there.
    install(handler, level=logging.getLogger().level)
    _LOG.error(
        "worker %d (process %d): the supervisor has gone; what runs may end within %g s",
        context.number,
        os.getpid(),
        drain_seconds,
    )
    context.is_alone.set()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(drain_seconds + GRACE_SECONDS)
    os._exit(1)
