"""The parent's end of one call channel: frames out as the cell reads them, frames in as they come.

Never waits: what cannot be sent or is not there yet is for the next turn.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

from toolrunner.sandbox.ending import Raised
from toolrunner.sandbox.frames import FrameError, FrameReader
from toolrunner.sandbox.json_values import MOST_VALUES, count_values

_CHUNK = 1 << 18
_CHUNKS_A_TURN = 16
_MOST_ERRNO = 4096  # the kernel's own bound


class Channel:
    """One call channel. Close it after use."""

    def __init__(
        self, ours: socket.socket, output_cap: int, replies: int = 1, *, artifacts_cap: int = 0
    ) -> None:
        """``output_cap``: the most bytes that a reply may hold. ``replies``: how many may come.

        ``artifacts_cap``: the most bytes of all artifacts of one reply.
        """
        ours.setblocking(False)
        self._socket = ours
        self._reader = FrameReader(output_cap, replies, artifacts_cap=artifacts_cap)
        self._outgoing: list[memoryview] = []
        self.closed = False

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    @property
    def has_more_to_send(self) -> bool:
        """Whether to wait until the cell reads on."""
        return bool(self._outgoing) and not self.closed

    @property
    def was_cut_off(self) -> bool:
        """Whether the channel ended in the middle of a frame."""
        return self.closed and self._reader.truncated()

    def send(self, pieces: list[bytes]) -> None:
        """Send a frame, as far as it goes now."""
        self._outgoing += [memoryview(piece) for piece in pieces]
        self.send_more()

    def send_more(self) -> None:
        """Send on; a cell that does not read is no reason to wait."""
        try:
            while self._outgoing:
                sent = self._socket.sendmsg(self._outgoing)
                while self._outgoing and sent >= len(self._outgoing[0]):
                    sent -= len(self._outgoing.pop(0))
                if sent:
                    self._outgoing[0] = self._outgoing[0][sent:]
        except BlockingIOError:
            return
        except OSError:
            self._outgoing.clear()  # its end is closed; how the cell ended says the rest

    def let_go(self) -> None:
        """Let the cell end, which waits for this after its reply."""
        with contextlib.suppress(OSError):  # it has not waited
            self._socket.shutdown(socket.SHUT_RDWR)

    def receive(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the frames (kind, body) that have come, within bounds for one turn.

        Raises ``FrameError`` and ``ReplyTooLargeError`` for what is no frame.
        """
        for _ in range(_CHUNKS_A_TURN):
            if self.closed:
                return
            try:
                # No room for descriptors: a hostile cell could send some.
                data = self._socket.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self.closed = not data
            yield from self._reader.feed(data)


def parse_raised(body: bytes) -> Raised:
    """Return a RAISED frame's body as data; ``FrameError`` if it is none."""
    report = parse_object(body)
    number, claims = report.get("errno"), report.get("claims")
    return Raised(
        exception=_text(report, "exception"),
        message=_text(report, "message"),
        traceback=_text(report, "traceback"),
        errno=number if type(number) is int and 0 <= number < _MOST_ERRNO else None,
        is_memory_error=report.get("is_memory_error") is True,
        cannot_start_thread=report.get("cannot_start_thread") is True,
        blames_caller=report.get("blames_caller") is True,
        claims=claims if isinstance(claims, str) else "",
    )


def parse_progress(body: bytes) -> tuple[float, str]:
    """Return a PROGRESS frame's fraction and message; ``FrameError`` if it has none."""
    report = parse_object(body)
    fraction = report.get("fraction")
    if not isinstance(fraction, int | float) or not 0 <= fraction <= 1:
        message = "a progress report without a fraction from 0 to 1"
        raise FrameError(message)
    return float(fraction), _text(report, "message")


def parse_object(body: bytes) -> dict[str, object]:
    """Return the JSON object that a frame holds; ``FrameError`` if it holds none."""
    if count_values(body) > MOST_VALUES:
        message = f"a frame with more than {MOST_VALUES} JSON values"
        raise FrameError(message)
    try:
        report = json.loads(body)
    except (ValueError, RecursionError) as error:
        message = f"a frame that is not JSON: {type(error).__name__}"
        raise FrameError(message) from error
    if not isinstance(report, dict):
        message = "a frame that is not a JSON object"
        raise FrameError(message)
    return report


def _text(report: dict[str, object], name: str) -> str:
    value = report.get(name)
    if not isinstance(value, str):
        message = f"a frame without the text {name!r}"
        raise FrameError(message)
    return value
