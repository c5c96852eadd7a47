"""Probes and figures of a process that serves no HTTP API: three addresses, and nothing else.

Used by workers that run jobs. All of them answer on the one socket of their supervisor, each for
all. Whoever connects has few seconds, few bytes and no key; of many the oldest connection gives
way, so that the prober behind a hundred idle ones is heard.
"""

from __future__ import annotations

import io
import json
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from toolrunner.api.readiness import Readiness, readiness
from toolrunner.api.serve.body import Upkeep
from toolrunner.runner.hosts import is_loopback, name_in
from toolrunner.sandbox.shortage import is_shortage, started, told

_LOG = logging.getLogger("toolrunner.serve")

# What one connection may take, from its first byte to its last.
SECONDS = 5.0
MOST_HEAD_BYTES = 8192
# How many are heard at once, and how many threads there may be while some answers take long.
MOST_HEARD, _MOST_THREADS = 16, 48
_LOOK_SECONDS = 0.5
_PIECE_BYTES = 4096
_END = b"\r\n\r\n"
_JSON = "application/json"


class Health:
    """The probes of one worker, from now until ``close``."""

    def __init__(
        self,
        listener: socket.socket,
        upkeep: Upkeep,
        is_draining: Callable[[], bool],
        *,
        is_private: bool,
    ) -> None:
        """``is_private``: only this host can ask, and may learn the names of plugins."""
        answers = _Answers(upkeep, is_draining, is_private)
        self._server = _Server(listener, partial(_Handler, answers))
        self._thread = started(
            partial(self._server.serve_forever, _LOOK_SECONDS), "toolrunner-health"
        )

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Answers:
    """What is answered at each address."""

    def __init__(self, upkeep: Upkeep, is_draining: Callable[[], bool], is_private: bool) -> None:
        self._upkeep = upkeep
        self._is_draining = is_draining
        self._is_private = is_private

    def is_for(self, host: str | None) -> bool:
        """Whether a request may be for this process, by the host that it names.

        On the loopback a page of another site may have a name of its own point here, and read what
        comes back.
        """
        if not self._is_private or not host:
            return True
        name = name_in(host)
        return is_loopback(name) or name in self._upkeep.backend.settings.allowed_hosts

    def of(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        """Return status, type and content."""
        if path == "/healthz":
            return _document(HTTPStatus.OK, {"status": "ok"})
        if path == "/readyz":
            return self._readyz()
        if path == "/metrics":
            metrics = self._upkeep.metrics
            figures = metrics.exposition(self._upkeep.backend, self._upkeep.problems())
            return HTTPStatus.OK, metrics.content_type, figures
        return _document(HTTPStatus.NOT_FOUND, {"error": "only /healthz, /readyz and /metrics"})

    def _readyz(self) -> tuple[HTTPStatus, str, bytes]:
        try:
            found = readiness(
                self._upkeep.backend,
                self._upkeep.problems(),
                is_draining=self._is_draining(),
                deaths=self._upkeep.metrics.deaths(),
                names_plugins=self._is_private,
                hint="; the log has which",
            )
        except Exception as error:
            if not is_shortage(error):
                raise
            found = Readiness([told(error)], [])
        status = HTTPStatus.SERVICE_UNAVAILABLE if found.reasons else HTTPStatus.OK
        return _document(status, found.document(shows_paths=False))


def _document(status: HTTPStatus, content: object) -> tuple[HTTPStatus, str, bytes]:
    return status, _JSON, json.dumps(content).encode()


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    """A thread a connection, of which there are few, for a short time."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, handler: Callable[..., Any]) -> None:
        super().__init__(("", 0), handler, bind_and_activate=False)
        self.socket.close()
        # Another worker may have taken the connection that this one was woken for.
        listener.setblocking(False)
        self.socket = listener
        self._lock = threading.Lock()
        self._heard: dict[socket.socket, float] = {}  # until when, the oldest first
        self._answering = 0

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the library's own
        """Hear a connection in a thread of its own."""
        with self._lock:
            is_free = self._answering < _MOST_THREADS
            self._answering += is_free
            if is_free:
                self._heard[request] = time.monotonic() + SECONDS
            beyond = list(self._heard)[:-MOST_HEARD]
        for one in beyond:
            self._hush(one)
        if is_free:
            super().process_request(request, client_address)
        else:
            request.close()

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as above
        """Be done with a connection."""
        with self._lock:
            self._answering -= 1
            self._heard.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Be done with those whose time is over."""
        now = time.monotonic()
        with self._lock:
            late = [one for one, until in self._heard.items() if until < now]
        for one in late:
            self._hush(one)

    def _hush(self, connection: socket.socket) -> None:
        """Let a connection end: its thread reads and writes nothing more."""
        with self._lock:
            if self._heard.pop(connection, None) is None:
                return  # it has ended by itself, and its number may be another's
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # its client was faster
                return

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the library's own
        """Note what has failed: mostly a client that has gone."""
        _LOG.debug("a probe was not answered", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One connection, with one request."""

    timeout = SECONDS

    def __init__(self, answers: _Answers, *arguments: Any) -> None:  # noqa: ANN401 - the library's own
        self._answers = answers
        super().__init__(*arguments)

    def setup(self) -> None:
        """Read the head first: what reads it next would take 6 MiB of one."""
        super().setup()
        self.rfile = io.BytesIO(_head(self.connection))

    def do_GET(self) -> None:
        """Answer."""
        self._send(*self._answer())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815 - as above

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no request for this, such as another method, as everything is answered."""
        del explain  # it is of the page that a browser would be shown
        is_method = code == HTTPStatus.NOT_IMPLEMENTED
        words = "only GET and HEAD" if is_method else message or HTTPStatus(code).phrase
        self._send(*_document(HTTPStatus(code), {"error": words}))

    def _answer(self) -> tuple[HTTPStatus, str, bytes]:
        if not self._answers.is_for(self.headers.get("Host")):
            words = "this name is none of this host; allowed_hosts in the settings lists others"
            return _document(HTTPStatus.FORBIDDEN, {"error": words})
        try:
            return self._answers.of(self.path.partition("?")[0])
        except Exception:  # noqa: BLE001 - logged; the next one may be answered
            _LOG.exception("a probe met a bug")
            return _document(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "a bug; see the log"})

    def version_string(self) -> str:
        """Say no versions to whoever asks."""
        return "toolrunner"

    def log_message(self, form: str, *arguments: object) -> None:
        """Log only for who looks for it: it is asked all the time."""
        _LOG.debug(form, *arguments)


def _head(connection: socket.socket) -> bytes:
    """Return a request's head; nothing of one that is too long, or does not come in time."""
    head = b""
    try:
        while _END not in head:
            piece = connection.recv(_PIECE_BYTES)
            head += piece
            if not piece or len(head) > MOST_HEAD_BYTES:
                return b""
    except OSError:
        return b""
    return head
