"""Posts one message to one address, once, within a time that nobody on the other side can stretch.

Redirects are not followed, no proxy is used, and of the answer only its head is read.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

SECONDS = 20.0
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said: its status, and its Retry-After."""

    status: int
    retry_after: str | None = None


class Sender:
    """Posts, one message at a time. ``cut`` ends what it is at, from another thread."""

    def __init__(self, seconds: float = SECONDS) -> None:
        """``seconds`` are for what follows the connection, which has a time of its own."""
        self._seconds = seconds
        self._context: ssl.SSLContext | None = None
        self._socket: socket.socket | None = None

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return the answer; raises OSError when there was none."""
        parts = urlsplit(url)
        target = parts._replace(scheme="", netloc="").geturl() or "/"
        try:
            with closing(self._connection(parts.scheme, parts.hostname or "", parts.port)) as link:
                link.connect()
                self._socket = link.sock
                deadline = time.monotonic() + self._seconds
                link.sock.settimeout(self._seconds)
                link.request("POST", target, body, {**headers, "Connection": "close"})
                response = http.client.HTTPResponse(
                    _Hurried(link.sock, deadline),  # type: ignore[arg-type]  # it is only read from
                    method="POST",
                )
                with closing(response):
                    response.begin()
                    return Answer(response.status, response.headers.get("Retry-After"))
        except http.client.HTTPException as error:
            message = f"no HTTP came back: {type(error).__name__}"
            raise OSError(message) from error
        finally:
            self._socket = None

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=_CONNECT_SECONDS)
        if self._context is None:
            self._context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            host, port, timeout=_CONNECT_SECONDS, context=self._context
        )

    def cut(self) -> None:
        """Break the connection that is open, if one is."""
        link = self._socket
        if link is not None:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)


class _Hurried:
    """What http.client takes for a socket: each read of it ends at the same deadline."""

    def __init__(self, link: socket.socket, deadline: float) -> None:
        self._link = link
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Bytes(self._link, self._deadline))


class _Bytes(io.RawIOBase):
    def __init__(self, link: socket.socket, deadline: float) -> None:
        self._link = link
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # as BufferedReader calls it
        self._link.settimeout(_left(self._deadline))
        return self._link.recv_into(buffer)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        message = "no answer in time"
        raise TimeoutError(message)
    return left
