"""Heads of requests, as strictly as they have to be read; HTTP's grammar itself is h11's.

What two readers could take for two different requests is refused, and a target that names its
host is made one that does not. So is a body that is mostly the frames of its chunks.
"""

from __future__ import annotations

import h11

from toolrunner.runner.hosts import name_in

_SCHEMES = (b"http://", b"https://")
_TOO_LARGE = 431
# A chunk costs some microseconds of the event loop, whatever is in it: beyond so many of one body
# they have to carry something. Lines do, and a short document may come token by token.
MOST_SMALL_CHUNKS = 10_000
LEAST_MEAN_BYTES = 32


class StrictConnection(h11.Connection):
    """h11's, with what it lets pass and no server may.

    ``only``: the paths that may be asked for, where not all may be. What was wrong when it has
    raised: ``is_too_large``, ``is_beyond`` what may be asked for, or the ``complaint``.
    """

    only: frozenset[bytes] | None = None
    is_too_large = False
    is_beyond = False
    complaint = ""
    # Of the body that is read.
    _chunks = 0
    _chunked_bytes = 0

    def __init__(self, most_head: int) -> None:
        """``most_head``: how many bytes a head may have."""
        super().__init__(h11.SERVER, most_head)
        self._most_head = most_head

    def next_event(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        """Return the next event; raises h11.RemoteProtocolError."""
        # Asking copies all that waits, so it is done once a head and not for each chunk of a body.
        waiting = self._waiting() if self.their_state is h11.IDLE else 0
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.is_too_large = error.error_status_hint == _TOO_LARGE
            raise
        if isinstance(event, h11.Data):
            self._count(event)
        if not isinstance(event, h11.Request):
            return event
        self._chunks = self._chunked_bytes = 0
        # h11 holds its bound against heads that are incomplete: one that has come whole is larger.
        if waiting > self._most_head and waiting - self._waiting() > self._most_head:
            self.is_too_large = True
            message = "the head is too large"
            raise h11.RemoteProtocolError(message, error_status_hint=_TOO_LARGE)
        try:
            request = _checked(event)
        except h11.RemoteProtocolError as error:
            self.complaint = str(error)
            raise
        if self.only is not None and request.target.partition(b"?")[0] not in self.only:
            self.is_beyond = True
            message = "no room for anything but a probe"
            raise h11.RemoteProtocolError(message)
        return request

    def _count(self, data: h11.Data) -> None:
        """Count a chunk; raises h11.RemoteProtocolError for too many that carry next to nothing."""
        self._chunks += data.chunk_end  # one of which all bytes have come, and are counted
        self._chunked_bytes += len(data.data)
        if (
            self._chunks > MOST_SMALL_CHUNKS
            and self._chunked_bytes < self._chunks * LEAST_MEAN_BYTES
        ):
            self.complaint = (
                f"the body comes in chunks that are too small; beyond {MOST_SMALL_CHUNKS:,} of them"
                f" send {LEAST_MEAN_BYTES} bytes or more in each, on average"
            )
            raise h11.RemoteProtocolError(self.complaint)

    def _waiting(self) -> int:
        """Return how many bytes have come that are no event yet."""
        return len(self.trailing_data[0])


def _checked(request: h11.Request) -> h11.Request:
    names = [name for name, _ in request.headers]
    if b"content-length" in names and b"transfer-encoding" in names:
        # Which of them counts, proxies answer differently: a second request could hide in it.
        message = "Content-Length and Transfer-Encoding exclude each other; send one of them"
        raise h11.RemoteProtocolError(message)
    if request.target.lower().startswith(_SCHEMES):
        return _without_host(request)
    return request


def _without_host(request: h11.Request) -> h11.Request:
    """Return a request in absolute form as one in origin form: its host is the one that counts."""
    rest = request.target.partition(b"://")[2]
    at = min((i for i in map(rest.find, (b"/", b"?")) if i >= 0), default=len(rest))
    if not name_in(rest[:at].decode("latin-1")):
        message = "the request's target names no host; write http://HOST/PATH, or /PATH"
        raise h11.RemoteProtocolError(message)
    host, target = rest[:at], rest[at:]
    if not target.startswith(b"/"):
        target = b"/" + target
    others = [
        (name, value) for name, value in request.headers.raw_items() if name.lower() != b"host"
    ]
    return h11.Request(
        method=request.method,
        target=target,
        headers=[(b"Host", host), *others],
        http_version=request.http_version,
    )
