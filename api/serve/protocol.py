"""HTTP on one connection, by uvicorn, with six things that it leaves open.

A head that does not arrive holds a connection no longer than ``HEAD_SECONDS``; an answer that is
not taken no longer than ``TAKE_SECONDS``; there are no more connections than descriptors allow, nor
of one client than it may have; probes have some beyond that; no connection is read for so long at
a time that others wait; and what is no HTTP, or could be read in two ways, gets an answer of the
one shape of errors.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from toolrunner.api.http.clients import Clients
from toolrunner.api.http.context import REQUEST_ID
from toolrunner.api.http.errors import HttpError, RequestError, invalid, refusal
from toolrunner.api.http.middleware import LEAST_BYTES_A_SECOND, SECURITY_HEADERS
from toolrunner.api.serve.heads import StrictConnection
from toolrunner.runner.errors import ErrorType

_LOG = logging.getLogger("toolrunner.http")
HEAD_SECONDS = 20.0
# An answer may take this long to be taken, and longer by what was taken at the least rate.
TAKE_SECONDS = 20.0
# Of the 1024 descriptors that a process has on most hosts, enough are left for calls.
MOST_CONNECTIONS = 400
# So many more are for probes: one of them that asks for anything else is refused, and one that is
# silent makes room for the next.
MOST_PROBES = 16
_MOST_HEAD_BYTES = 16 * 1024
# What is read of one connection before the event loop looks at the others: 5,461 chunks of one
# byte, which take some 40 ms. asyncio's own protocols read 256 KiB.
MOST_READ_BYTES = 32 * 1024
PROBES = frozenset({b"/healthz", b"/readyz", b"/metrics"})


class PatientProtocol(H11Protocol, asyncio.BufferedProtocol):
    """uvicorn's protocol, with an end to its patience."""

    _timer: asyncio.TimerHandle | None = None
    _has_spoken = False
    _taking: _Taking | None = None
    # Why this connection is for a probe alone, if it is.
    _full = ""
    _is_answered = False
    _read = bytearray()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        clients: Clients,
        probes: dict[PatientProtocol, None],
        head_seconds: float | None = None,
    ) -> None:
        """``clients`` and ``probes`` are those of all connections of this worker."""
        super().__init__(config, server_state, app_state, _loop)
        self._most_head = self.config.h11_max_incomplete_event_size or _MOST_HEAD_BYTES
        self._strict = StrictConnection(self._most_head)
        self.conn = self._strict
        self._clients = clients
        self._probes = probes
        self._head_seconds = HEAD_SECONDS if head_seconds is None else head_seconds

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin to wait for a request."""
        super().connection_made(transport)
        # What the kernel does not take waits for the client, however little it is.
        transport.set_write_buffer_limits(high=0)
        if not self._clients.connected(self._address):
            self._full = "too many connections of this address (connections_per_client)"
        elif len(self.connections) - len(self._probes) > MOST_CONNECTIONS:
            self._full = "too many connections"
        if self._full:
            self._strict.only = PROBES
            if len(self._probes) >= MOST_PROBES:
                # The one that has been silent for longest makes room; a probe says at once what it
                # wants. If all are being answered, there is none.
                silent = (one for one in self._probes if not one._is_serving())
                next(silent, self).give_way()
            if self._is_answered:
                return
            self._probes[self] = None
        self._wait_for_head()

    def give_way(self) -> None:
        """Leave, for one that is newer."""
        self._probes.pop(self, None)
        self._refuse(self._too_many())

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _too_many(self) -> RequestError:
        message = f"{self._full}; try again later"
        return RequestError(ErrorType.OVERLOADED, message, details={"retry_after_seconds": 1})

    def get_buffer(self, _sizehint: int) -> bytearray:
        """Return where the next read goes to, which bounds it."""
        self._read = bytearray(MOST_READ_BYTES)
        return self._read

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        data = bytes(memoryview(self._read)[:nbytes])
        self._read = bytearray()  # a connection that is idle holds none
        self.data_received(data)

    def data_received(self, data: bytes) -> None:
        """Take what has come; wait for the rest of a head, but not of a body."""
        if self._is_answered:
            return  # what comes behind something that could not be read is not read
        self._has_spoken = True
        super().data_received(data)
        if self._full and self._is_serving():
            self.cycle.keep_alive = False
        if self._is_serving():
            self._stop_waiting()
        else:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        if self._taking is not None:
            self._taking.pause()
        self._probes.pop(self, None)
        self._clients.disconnected(self._address)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for the client, which takes an answer more slowly than it comes."""
        super().pause_writing()
        if self._taking is None or self._taking.answer is not self.cycle:
            self._taking = _Taking(self.cycle, self.transport, self.loop)
        self._taking.wait()

    def resume_writing(self) -> None:
        """Wait no more: it has taken all that there was."""
        if self._taking is not None:
            self._taking.pause()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and close."""
        if self._strict.is_too_large:
            message = f"the head of the request is larger than {self._most_head} bytes"
            self._refuse(RequestError(HttpError.HEAD_TOO_LARGE, message))
        elif self._strict.is_beyond:
            self._refuse(self._too_many())
        else:
            self._refuse(invalid(self._strict.complaint or msg))

    def _refuse(self, error: RequestError) -> None:
        self._is_answered = True
        self._stop_waiting()
        if self._clients.is_told(self._address, str(error.kind)):
            _LOG.info("a connection of %s was refused: %s", self._address, error)
        if self._is_serving():
            # In the middle of a body: whoever reads it hears that nothing more comes.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.close()  # half an answer is out
            return
        REQUEST_ID.set(uuid.uuid4().hex)
        response = refusal(error)
        headers = [
            *response.raw_headers,
            (b"x-request-id", REQUEST_ID.get().encode()),
            (b"connection", b"close"),
            *((name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()),
        ]
        for event in (
            h11.Response(status_code=response.status_code, headers=headers),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _is_serving(self) -> bool:
        # uvicorn says that there always is one; before the first request there is not.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _wait_for_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self._head_seconds, self._too_late)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        if self.transport.is_closing() or self._is_serving():
            return
        if self._has_spoken and self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self.send_400_response(
                f"the head of the request did not come in {self._head_seconds:g} s"
            )
        else:
            self.transport.close()


class _Taking:
    """How long a client has made one answer wait, held against how much of it it has taken."""

    def __init__(
        self,
        answer: RequestResponseCycle | None,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.answer = answer
        self._transport = transport
        self._loop = loop
        self._left = TAKE_SECONDS
        self._since = 0.0
        self._buffered = 0
        self._timer: asyncio.TimerHandle | None = None

    def wait(self) -> None:
        """Wait for the client from now on, and drop the connection when it is too slow."""
        self._since = self._loop.time()
        self._buffered = self._transport.get_write_buffer_size()
        self._timer = self._loop.call_later(self._left, self._look)

    def pause(self) -> None:
        """Wait no more, until the next time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._count()

    def _look(self) -> None:
        self.pause()
        if self._left > 0:
            self.wait()
        else:
            _LOG.warning("an answer was not taken, or too slowly; its connection is dropped")
            self._transport.abort()

    def _count(self) -> None:
        taken = self._buffered - self._transport.get_write_buffer_size()
        self._left += taken / LEAST_BYTES_A_SECOND - (self._loop.time() - self._since)
