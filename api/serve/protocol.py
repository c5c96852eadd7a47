"""HTTP on one connection, by uvicorn, with four things that it leaves open.

A head that does not arrive holds a connection no longer than ``HEAD_SECONDS``; an answer that is
not taken no longer than ``TAKE_SECONDS``; there are no more connections than descriptors allow; and
what is no HTTP at all gets an answer of the one shape of errors.
"""

from __future__ import annotations

import asyncio
import logging
import uuid

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from toolrunner.api.http.context import REQUEST_ID
from toolrunner.api.http.errors import RequestError, invalid, refusal
from toolrunner.api.http.middleware import LEAST_BYTES_A_SECOND, SECURITY_HEADERS
from toolrunner.runner.errors import ErrorType

_LOG = logging.getLogger("toolrunner.http")
HEAD_SECONDS = 20.0
# An answer may take this long to be taken, and longer by what was taken at the least rate.
TAKE_SECONDS = 20.0
# Of the 1024 descriptors that a process has on most hosts, enough are left for calls.
MOST_CONNECTIONS = 400


class PatientProtocol(H11Protocol):
    """uvicorn's protocol, with an end to its patience."""

    _timer: asyncio.TimerHandle | None = None
    _has_spoken = False
    _taking: _Taking | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin to wait for a request."""
        super().connection_made(transport)
        # What the kernel does not take waits for the client, however little it is.
        transport.set_write_buffer_limits(high=0)
        if len(self.connections) > MOST_CONNECTIONS:
            message = "too many connections; try again later"
            self._refuse(RequestError(ErrorType.OVERLOADED, message, headers={"Retry-After": "1"}))
        else:
            self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take what has come; wait for the rest of a head, but not of a body."""
        self._has_spoken = True
        super().data_received(data)
        if self._is_serving():
            self._stop_waiting()
        else:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        if self._taking is not None:
            self._taking.pause()
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
        self._refuse(invalid(msg))

    def _refuse(self, error: RequestError) -> None:
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
            self._timer = self.loop.call_later(HEAD_SECONDS, self._too_late)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        if self.transport.is_closing() or self._is_serving():
            return
        if self._has_spoken and self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self.send_400_response(f"the head of the request did not come in {HEAD_SECONDS:g} s")
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
