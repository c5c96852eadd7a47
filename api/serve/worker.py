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
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from toolrunner.api.audit import AuditLog
from toolrunner.api.http.app import create_app
from toolrunner.api.http.doors import Doors
from toolrunner.api.http.metrics import Metrics
from toolrunner.api.keys import KeyStore
from toolrunner.api.serve.child import WorkerContext
from toolrunner.api.serve.protocol import PatientProtocol
from toolrunner.api.version import version
from toolrunner.plugins.discovery import DiscoveryError
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.settings.settings import Settings, SettingsError

_LOG = logging.getLogger("toolrunner.serve")
AUDIT_FILE = "audit.jsonl"
# Request line and headers together: more than any browser or proxy sends.
_MAX_HEAD_BYTES = 32 * 1024
_KEEP_ALIVE_SECONDS = 15
# How old the figures of waiting calls and residents may be.
_NOTE_SECONDS = 1.0


@dataclass(frozen=True)
class Worker:
    """What all workers are made from, before the fork; called with what is one's own."""

    settings: Settings
    plugin_paths: tuple[str, ...]
    metrics_folder: Path
    needs_keys: bool

    def __call__(self, context: WorkerContext) -> None:
        """Serve until SIGTERM, and finish what runs."""
        state, draining = self.settings.state, threading.Event()
        with ExitStack() as stack:
            metrics = Metrics(self.metrics_folder)
            backend = Backend(
                self.settings, plugin_paths=self.plugin_paths, observer=metrics.observe
            )
            stack.callback(backend.close)
            audit = AuditLog(state / AUDIT_FILE)
            stack.callback(audit.close)
            keys = None
            if self.needs_keys:
                keys = KeyStore(state)
                stack.callback(keys.close)
            doors = Doors(backend, keys, audit, metrics, draining.is_set)
            stack.callback(doors.threads.close)
            config = uvicorn.Config(
                create_app(doors, version() or "0"),
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                lifespan="off",
                ws="none",
                loop="asyncio",
                http=PatientProtocol,
                h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=math.ceil(self.settings.drain_seconds),
            )
            _Server(config, context, backend, draining, metrics).run(sockets=[context.listener])


class _Server(uvicorn.Server):
    """A server that ends and reloads as the supervisor says."""

    def __init__(
        self,
        config: uvicorn.Config,
        context: WorkerContext,
        backend: Backend,
        draining: threading.Event,
        metrics: Metrics,
    ) -> None:
        super().__init__(config)
        self._metrics = metrics
        self._context = context
        self._backend = backend
        self._draining = draining
        self._work: set[asyncio.Future[None]] = set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn's way ends by raising them once more."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept, and say so."""
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._in_thread, self._reload)
        self._backend.start()
        self._note_now()
        self._context.ready()

    def _note_now(self) -> None:
        self._metrics.waiting(self._backend.waiting())
        self._metrics.residents(self._backend.residents())
        asyncio.get_running_loop().call_later(_NOTE_SECONDS, self._note_now)

    def _end(self) -> None:
        if self._draining.is_set():
            return
        self._draining.set()
        # Both at once: no job is begun while requests end, and both share the same time.
        self._in_thread(self._drain)
        self.should_exit = True

    def _in_thread(self, function: object) -> None:
        assert callable(function)
        work = asyncio.get_running_loop().run_in_executor(None, function)
        self._work.add(work)
        work.add_done_callback(self._work.discard)

    def _drain(self) -> None:
        self._backend.drain(self._backend.settings.drain_seconds)

    def _reload(self) -> None:
        try:
            self._backend.plugins.reload()
        except (DiscoveryError, SettingsError, OSError) as error:
            _LOG.error("plugins stay as they were: %s", error)
        except Exception:  # noqa: BLE001 - logged; the server goes on
            _LOG.exception("plugins stay as they were: a bug")
        else:
            _LOG.info("plugins are loaded again")
