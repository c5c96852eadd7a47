"""HTTP on one connection, by uvicorn, with three things that it leaves open.

A head that does not arrive holds a connection no longer than ``HEAD_SECONDS``; there are no more
connections than descriptors allow; and what is no HTTP at all gets an answer of the one shape of
errors.
"""

from __future__ import annotations

import asyncio
import uuid

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from toolrunner.api.http.context import REQUEST_ID
from toolrunner.api.http.errors import RequestError, invalid, refusal
from toolrunner.api.http.middleware import SECURITY_HEADERS
from toolrunner.runner.errors import ErrorType

HEAD_SECONDS = 20.0
# Of the 1024 descriptors that a process has on most hosts, enough are left for calls.
MOST_CONNECTIONS = 400


class PatientProtocol(H11Protocol):
    """uvicorn's protocol, with an end to its patience."""

    _timer: asyncio.TimerHandle | None = None
    _has_spoken = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin to wait for a request."""
        super().connection_made(transport)
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
        super().connection_lost(exc)

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
