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
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import uvicorn

from toolrunner.api.audit_choice import audit_of
from toolrunner.api.http.app import create_app
from toolrunner.api.http.doors import Doors
from toolrunner.api.http.errors import public
from toolrunner.api.http.tracing import CallTracing, is_possible, is_wanted
from toolrunner.api.key import Keys
from toolrunner.api.key_choice import served_keys
from toolrunner.api.metrics.recording import Metrics
from toolrunner.api.metrics.tables import Tables
from toolrunner.api.serve.child import WorkerContext
from toolrunner.api.serve.protocol import PatientProtocol
from toolrunner.api.serve.reloading import ask_for_it, reread
from toolrunner.api.serve.silence import BEAT_SECONDS
from toolrunner.api.version import version
from toolrunner.plugins.discovery import DiscoveryError
from toolrunner.runner.registry.plugin_changes import Seen, plugin_changes
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.settings.changes import Reload
from toolrunner.runner.settings.settings import Settings, SettingsError
from toolrunner.runner.shared_places import SharedPlaces
from toolrunner.sandbox.shortage import submit

_LOG = logging.getLogger("toolrunner.serve")
AUDIT_FILE = "audit.jsonl"
# Request line and headers together: more than any browser or proxy sends.
_MAX_HEAD_BYTES = 32 * 1024
_KEEP_ALIVE_SECONDS = 15
# How old the figures of waiting calls, boxes and residents may be.
_NOTE_SECONDS = 1.0
# How soon the room for an operator's commands is made again, once a full disk has some.
_RESERVE_SECONDS = 30.0


@dataclass
class Worker:
    """What all workers are made from, before the fork; called with what is one's own.

    ``settings`` change with a reload. ``load`` reads them anew, in the process ``supervisor`` and
    in each worker. ``places`` are shared by all workers, where there are several.
    """

    settings: Settings
    plugin_paths: tuple[str, ...]
    figures: Tables
    needs_keys: bool
    load: Callable[[], Settings]
    supervisor: int
    places: SharedPlaces | None = None
    # The plugins that there are, by name: the supervisor's, to tell what a reload changes.
    plugins: dict[str, Seen] = field(default_factory=dict)

    def __call__(self, context: WorkerContext) -> None:
        """Serve until SIGTERM, and finish what runs."""
        state, draining, closing = self.settings.state, threading.Event(), threading.Event()
        with ExitStack() as stack:
            tracing = _tracing(self.settings)
            if tracing is not None:
                stack.callback(tracing.close)  # after the backend, whose calls end with it
            metrics = Metrics(self.figures, context.number)
            backend = Backend(
                self.settings,
                plugin_paths=self.plugin_paths,
                observer=metrics.observe,
                shown=public,
                share=None if self.places is None else self.places.share(context.number),
            )
            stack.callback(backend.close)
            audit = audit_of(state / AUDIT_FILE, backend.together)
            stack.callback(audit.close)
            keys = None
            if self.needs_keys:
                keys = served_keys(self.settings, backend.together)
                stack.callback(keys.close)
                _rename_callers(backend, keys)
            if tracing is not None:
                backend.plugins.trace_with(tracing)
            reload = partial(self._reload, backend)
            doors = Doors(
                backend, keys, audit, metrics, draining.is_set, reload, tracing, closing.is_set
            )
            stack.callback(doors.threads.close)
            config = uvicorn.Config(
                create_app(doors, version() or "0"),
                log_config=None,
                # What it warns of, clients can cause at will; the protocol tells it in sums.
                log_level="error",
                access_log=False,
                proxy_headers=bool(self.settings.trusted_proxies),
                forwarded_allow_ips=list(self.settings.trusted_proxies),
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
                        head_seconds=self.settings.head_seconds,
                    ),
                ),
                h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=math.ceil(self.settings.drain_seconds),
            )
            server = _Server(config, context, backend, draining, closing, metrics, self.load)
            stack.callback(server.close)
            server.run(sockets=[context.listener])
            doors.clients.sum_up()

    def _reload(self, backend: Backend) -> Reload:
        """Try a reload, and have all workers make it."""
        try:
            _, found, there = reread(backend.settings, self.load, self.plugin_paths)
            different = plugin_changes(backend.plugins.seen(), there)
            ask_for_it(self.supervisor)
        except (SettingsError, DiscoveryError, OSError) as error:
            return Reload(refusal=str(error))
        return Reload(found, different)


def _tracing(settings: Settings) -> CallTracing | None:
    """Return what writes traces, if somebody wants them."""
    return CallTracing(settings) if is_wanted(settings) and is_possible() else None


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
        backend: Backend,
        draining: threading.Event,
        closing: threading.Event,
        metrics: Metrics,
        load: Callable[[], Settings],
    ) -> None:
        super().__init__(config)
        self._load = load
        self._metrics = metrics
        self._context = context
        self._backend = backend
        self._draining = draining
        self._closing = closing
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
        loop.add_signal_handler(signal.SIGHUP, self._reloader.submit, self._reload)
        self._backend.start()
        self._note_now()
        self._keep_reserve_now()
        self._context.ready()
        self._live()

    def _live(self) -> None:
        self._context.lives()
        asyncio.get_running_loop().call_later(BEAT_SECONDS, self._live)

    def _note_now(self) -> None:
        self._metrics.waiting(self._backend.waiting())
        self._metrics.boxes(self._backend.boxes())
        self._metrics.residents(self._backend.residents())
        asyncio.get_running_loop().call_later(_NOTE_SECONDS, self._note_now)

    def _keep_reserve_now(self) -> None:
        self._reloader.submit(self._backend.keep_reserve)
        asyncio.get_running_loop().call_later(_RESERVE_SECONDS, self._keep_reserve_now)

    def _end(self) -> None:
        if self._draining.is_set():
            if self._context.is_alone.is_set():
                self._close()
            return
        self._draining.set()
        self._context.leaves()
        # Nobody looks after it any more, and the next server needs its port.
        delay = (
            0.0 if self._context.is_alone.is_set() else self._backend.settings.drain_delay_seconds
        )
        # No job is begun from now on; those that run have as long as requests have.
        self._drainer.submit(self._drain, delay)
        if delay:
            asyncio.get_running_loop().call_later(delay, self._close)
        else:
            self._close()

    def _close(self) -> None:
        self._closing.set()
        self.should_exit = True

    def _drain(self, delay: float) -> None:
        try:
            self._backend.drain(delay + self._backend.settings.drain_seconds)
        except Exception:  # noqa: BLE001 - logged; the server ends all the same
            _LOG.exception("jobs and webhooks are not waited for: a bug")

    def _reload(self) -> None:
        try:
            self._backend.reload(self._load())
        except (DiscoveryError, SettingsError, OSError) as error:
            _LOG.error("plugins stay as they were: %s", error)
        except Exception:  # noqa: BLE001 - logged; the server goes on
            _LOG.exception("plugins stay as they were: a bug")
        else:
            _LOG.info("plugins are loaded again")
