"""What one process of ``toolrunner worker`` does: it runs jobs, and answers probes if it is to.

Run by the supervisor, as ``worker`` is for a server. Its main thread waits for signals and looks
after what is open; jobs have threads of their own, as have probes.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass

from toolrunner.api.serve.body import NOTE_SECONDS, RESERVE_SECONDS, Body, Upkeep
from toolrunner.api.serve.child import WorkerContext
from toolrunner.api.serve.health import Health
from toolrunner.api.serve.pipes import signal_pipe

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@dataclass
class JobsWorker:
    """What runs jobs in each worker. ``is_private``: only this host can ask for its health."""

    body: Body
    is_private: bool

    def __call__(self, context: WorkerContext) -> None:
        """Run jobs until SIGTERM, and finish those that run."""
        draining = threading.Event()
        with ExitStack() as stack:
            upkeep = self.body.open(context, stack)
            if context.listener is not None:
                health = Health(
                    context.listener, upkeep, draining.is_set, is_private=self.is_private
                )
                stack.callback(health.close)
            signals = stack.enter_context(signal_pipe(_SIGNALS))
            upkeep.backend.start()
            context.ready()
            _until_the_end(context, upkeep, signals)
            draining.set()
            context.leaves()
            upkeep.drain()


def _until_the_end(context: WorkerContext, upkeep: Upkeep, signals: int) -> None:
    """Look after what is open until SIGTERM has come."""
    reserve_at = time.monotonic()
    come = select.poll()
    come.register(signals, select.POLLIN)
    while True:
        context.lives()
        upkeep.note()
        if time.monotonic() >= reserve_at:
            upkeep.backend.keep_reserve()
            reserve_at = time.monotonic() + RESERVE_SECONDS
        numbers = os.read(signals, 512) if come.poll(NOTE_SECONDS * 1000) else b""
        if signal.SIGTERM in numbers:
            return
        if signal.SIGHUP in numbers:
            upkeep.reload()
