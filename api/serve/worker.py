"""What one worker process does: the HTTP app on the shared socket, by uvicorn.

Run by the supervisor in a process of its own. Everything that holds a thread, a file or a box is
made here, after the fork.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import cast

import uvicorn

from toolrunner.api.audit_choice import FILE as AUDIT_FILE
from toolrunner.api.audit_choice import audit_of
from toolrunner.api.http.app import create_app
from toolrunner.api.http.changes import Changes
from toolrunner.api.http.doors import Doors
from toolrunner.api.key import Keys
from toolrunner.api.key_choice import served_keys, served_sessions
from toolrunner.api.serve.body import NOTE_SECONDS, RESERVE_SECONDS, Body, Upkeep
from toolrunner.api.serve.child import WorkerContext
from toolrunner.api.serve.protocol import PatientProtocol
from toolrunner.api.serve.reloading import ask_for_it, reread
from toolrunner.api.serve.silence import BEAT_SECONDS
from toolrunner.api.version import version
from toolrunner.api.withdrawals import Wires, Withdrawals
from toolrunner.plugins.discovery import DiscoveryError
from toolrunner.runner.registry.plugin_changes import plugin_changes
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.settings.changes import Reload
from toolrunner.runner.settings.settings import SettingsError
from toolrunner.sandbox.shortage import submit

_LOG = logging.getLogger("toolrunner.serve")
# Request line and headers together: more than any browser or proxy sends.
_MAX_HEAD_BYTES = 32 * 1024
_KEEP_ALIVE_SECONDS = 15


@dataclass
class Worker:
    """What serves HTTP in each worker. ``supervisor`` is that one's process.

    By ``wires`` workers tell each other what is taken back.
    """

    body: Body
    needs_keys: bool
    supervisor: int
    wires: Wires

    def __call__(self, context: WorkerContext) -> None:
        """Serve until SIGTERM, and finish what runs."""
        settings, draining, closing = self.body.settings, threading.Event(), threading.Event()
        with ExitStack() as stack:
            upkeep = self.body.open(context, stack)
            backend, metrics = upkeep.backend, upkeep.metrics
            audit = audit_of(settings.state / AUDIT_FILE, backend.together)
            stack.callback(audit.close)
            keys = sessions = None
            if self.needs_keys:
                sessions = served_sessions(settings, backend.together)
                stack.callback(sessions.close)
                keys = served_keys(settings, backend.together)
                stack.callback(keys.close)
                _rename_callers(backend, keys)
            doors = Doors(
                backend,
                keys,
                audit,
                metrics,
                draining.is_set,
                partial(self._reload, backend),
                upkeep.tracing,
                closing.is_set,
                sessions,
                self.body.secret,
                Withdrawals(self.wires.of(context.number)),
            )
            stack.callback(doors.threads.close)
            app = create_app(doors, version() or "0")
            config = uvicorn.Config(
                app,
                log_config=None,
                # What it warns of, clients can cause at will; the protocol tells it in sums.
                log_level="error",
                access_log=False,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
                server_header=False,
                lifespan="off",
                ws="none",
                loop="asyncio",
                http=cast(
                    type[asyncio.Protocol],
                    partial(
                        PatientProtocol,
                        clients=doors.clients,
                        probes={},
                        head_seconds=settings.head_seconds,
                    ),
                ),
                h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=math.ceil(settings.drain_seconds),
            )
            prepare = app.state.page.rendering.prepare
            server = _Server(config, context, upkeep, draining, closing, doors.changes, prepare)
            stack.callback(server.close)
            assert context.listener is not None
            server.run(sockets=[context.listener])
            doors.clients.sum_up()

    def _reload(self, backend: Backend) -> Reload:
        """Try a reload, and have all workers make it."""
        body = self.body
        try:
            _, found, there = reread(backend.settings, body.load, body.plugin_paths)
            different = plugin_changes(backend.plugins.seen(), there)
            ask_for_it(self.supervisor)
        except (SettingsError, DiscoveryError, OSError) as error:
            return Reload(refusal=str(error))
        return Reload(found, different)


def _rename_callers(backend: Backend, keys: Keys) -> None:
    """Give keys' names to jobs that were stored when they belonged to a key's id."""
    try:
        backend.jobs.rename_callers({key.id: key.name for key in keys.list()})
    except OSError as error:
        _LOG.error("jobs keep the callers' names that they have: %s", error)


def _one_thread(name: str) -> ThreadPoolExecutor:
    """Return a pool with its only thread, which is there already; raise NoThreadError."""
    threads = ThreadPoolExecutor(1, f"toolrunner-{name}")
    submit(threads, _nothing).result()
    return threads


def _nothing() -> None:
    """Be done."""


class _Server(uvicorn.Server):
    """A server that ends and reloads as the supervisor says."""

    def __init__(
        self,
        config: uvicorn.Config,
        context: WorkerContext,
        upkeep: Upkeep,
        draining: threading.Event,
        closing: threading.Event,
        changes: Changes,
        prepare: Callable[[], None],
    ) -> None:
        """``prepare`` is done once the worker serves: what the first visitor would wait for."""
        super().__init__(config)
        self._context = context
        self._upkeep = upkeep
        self._draining = draining
        self._closing = closing
        self._prepare = prepare
        self._changes = changes
        # Made before a request is: when there is none left, it still ends and reloads.
        self._drainer = _one_thread("drain")
        self._reloader = _one_thread("reload")

    def close(self) -> None:
        """Wait for what was begun by a signal."""
        self._drainer.shutdown()
        self._reloader.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn's way ends by raising them once more."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept, and say so."""
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._reloader.submit, self._reload, loop)
        self._upkeep.backend.start()
        self._note_now()
        self._keep_reserve_now()
        self._context.ready()
        self._reloader.submit(self._prepare)
        self._live()

    def _reload(self, loop: asyncio.AbstractEventLoop) -> None:
        """Reload, and have those hear of it who wait for that."""
        changed = self._upkeep.reload()
        if changed:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._changes.tell, changed)

    def _live(self) -> None:
        self._context.lives()
        asyncio.get_running_loop().call_later(BEAT_SECONDS, self._live)

    def _note_now(self) -> None:
        self._upkeep.note()
        asyncio.get_running_loop().call_later(NOTE_SECONDS, self._note_now)

    def _keep_reserve_now(self) -> None:
        self._reloader.submit(self._upkeep.backend.keep_reserve)
        asyncio.get_running_loop().call_later(RESERVE_SECONDS, self._keep_reserve_now)

    def _end(self) -> None:
        if self._draining.is_set():
            if self._context.is_alone.is_set():
                self._close()
            return
        self._draining.set()
        self._context.leaves()
        # Nobody looks after it any more, and the next server needs its port.
        settings = self._upkeep.backend.settings
        delay = 0.0 if self._context.is_alone.is_set() else settings.drain_delay_seconds
        # No job is begun from now on; those that run have as long as requests have.
        self._drainer.submit(self._upkeep.drain, delay)
        if delay:
            asyncio.get_running_loop().call_later(delay, self._close)
        else:
            self._close()

    def _close(self) -> None:
        self._closing.set()
        self.should_exit = True
