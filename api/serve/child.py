"""The first and last things that a worker process does, whatever it serves.

Run by the supervisor right after each fork. A worker outlives neither the signal to end nor its
supervisor: it waits at the end of a pipe that only the supervisor keeps open.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from toolrunner.runner.errors import cut_end, harmless

_LOG = logging.getLogger("toolrunner.serve")
MAX_REASON_BYTES = 2048
GRACE_SECONDS = 3.0


@dataclass(frozen=True)
class WorkerContext:
    """What a worker has of its supervisor. SIGTERM asks it to end, SIGHUP to reload."""

    number: int
    listener: socket.socket
    lifeline: int
    words: Connection

    def ready(self) -> None:
        """Say that this worker accepts requests now."""
        self.words.send_bytes(b"")
        self.words.close()

    def failed(self, reason: str) -> None:
        """Say why this worker cannot start; after ``ready`` there is nobody to tell."""
        if not self.words.closed:
            self.words.send_bytes(cut_end(harmless(reason), MAX_REASON_BYTES).encode())
            self.words.close()


def run_child(
    context: WorkerContext,
    run_worker: Callable[[WorkerContext], None],
    leave_supervisor: Callable[[], None],
    drain_seconds: float,
) -> None:
    """Be a worker: run ``run_worker`` and end, with status 1 after an exception."""
    signal.set_wakeup_fd(-1)
    # Ctrl-C goes to the whole group: the supervisor says what is to be done about it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Until it serves, a worker has nothing to finish.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    leave_supervisor()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    threading.Thread(
        target=_outlive_nobody,
        args=(context.lifeline, drain_seconds),
        name="lifeline",
        daemon=True,
    ).start()
    try:
        run_worker(context)
    except Exception as error:  # noqa: BLE001 - logged, and told to the supervisor
        _LOG.exception("worker %d failed", context.number)
        context.failed(str(error) or type(error).__name__)
        sys.exit(1)


def _outlive_nobody(lifeline: int, drain_seconds: float) -> None:
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(drain_seconds + GRACE_SECONDS)
    os._exit(1)
