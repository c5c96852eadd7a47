"""Frames on a call channel, the parent's side: untrusted bytes in, whole frames out.

Never parses a body. A cap is checked against a frame's header, before its body is stored.
"""

from __future__ import annotations

from collections.abc import Iterator

from toolrunner.sandbox.ending import ARTIFACTS
from toolrunner.sandbox.inside import protocol

FINAL_KINDS = (protocol.RETURNED, protocol.UNSERIALIZABLE, protocol.RAISED)
PROGRESS_BYTES_CAP = protocol.PROGRESS_BYTES_CAP
_ARTIFACT_START = protocol.HEADER.size + protocol.HEAD_LENGTH.size


class FrameError(Exception):
    """The bytes are not what the protocol allows; the text says how."""


class ReplyTooLargeError(Exception):
    """A reply announces more than a limit of the call allows.

    ``limit`` is its name, and ``size`` what came to be announced: bytes, or artifacts.
    """

    def __init__(self, size: int, limit: str = "output_mb") -> None:
        super().__init__(f"a reply of {size}, beyond {limit}")
        self.size = size
        self.limit = limit


def encode(kind: bytes, head: bytes, blob: bytes = b"") -> list[bytes]:
    """Return a frame of the parent's as pieces to send: header and JSON head, then raw bytes."""
    length = protocol.HEAD_LENGTH.size + len(head) + len(blob)
    start = protocol.HEADER.pack(kind, length) + protocol.HEAD_LENGTH.pack(len(head))
    return [piece for piece in (start, head, blob) if piece]


class FrameReader:
    """Puts frames together from chunks of bytes, however they are cut."""

    def __init__(self, output_cap: int, replies: int = 1, *, artifacts_cap: int = 0) -> None:
        """``output_cap``: the most bytes of a RETURNED frame. ``replies``: how many may come.

        ``artifacts_cap``: the most bytes of all artifacts of one reply.
        """
        self._replies_left = replies
        self._artifacts_cap = artifacts_cap
        self._artifacts = self._artifact_bytes = 0  # of the reply that is to come
        self._caps = {
            protocol.CONFINED: protocol.SIGN_CAP,
            protocol.FAILED: protocol.REPORT_CAP,
            protocol.SOURCES: protocol.SOURCES_CAP,
            protocol.CACHES: protocol.CACHES_CAP,
            protocol.LOADED: protocol.SIGN_CAP,
            protocol.PROGRESS: protocol.PROGRESS_CAP,
            protocol.RETURNED: output_cap,
            protocol.UNSERIALIZABLE: protocol.REPORT_CAP,
            protocol.RAISED: protocol.REPORT_CAP,
        }
        self._buffer = bytearray()
        self._progress_bytes = 0
        self._error: FrameError | ReplyTooLargeError | None = None

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Take in bytes; yield each frame (kind, body) that they complete.

        After an error nothing more is stored: the same error is raised again.
        """
        if self._error is not None:
            raise self._error
        try:
            yield from self._frames(data)
        except (FrameError, ReplyTooLargeError) as error:
            self._error = error
            raise

    def _frames(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._buffer += data
        while len(self._buffer) >= protocol.HEADER.size:
            if not self._replies_left:
                break
            kind, length = protocol.HEADER.unpack_from(self._buffer)
            self._check(kind, length)
            end = protocol.HEADER.size + length
            if len(self._buffer) < end:
                return
            body = bytes(memoryview(self._buffer)[protocol.HEADER.size : end])
            del self._buffer[:end]
            self._count(kind, body)
            yield kind, body
        if not self._replies_left and self._buffer:
            message = "bytes after the reply"
            raise FrameError(message)

    def _count(self, kind: bytes, body: bytes) -> None:
        """Take note of a frame that is whole."""
        if kind in FINAL_KINDS:
            self._replies_left -= 1
            self._artifacts = self._artifact_bytes = 0
        elif kind == protocol.PROGRESS:
            self._progress_bytes += len(body)
        elif kind == protocol.ARTIFACT:
            self._artifacts += 1
            self._artifact_bytes += _raw_bytes(len(body), body)

    def truncated(self) -> bool:
        """Tell whether the channel ended in the middle of a frame."""
        return bool(self._buffer)

    def _check(self, kind: bytes, length: int) -> None:
        if kind == protocol.ARTIFACT:
            self._check_artifact(length)
            return
        cap = self._caps.get(kind)
        if cap is None:
            message = f"a frame of unknown kind {kind!r}"
            raise FrameError(message)
        if length > cap:
            if kind == protocol.RETURNED:
                raise ReplyTooLargeError(length)
            message = f"a frame {kind!r} of {length} bytes, more than {cap}"
            raise FrameError(message)
        if kind == protocol.PROGRESS and self._progress_bytes + length > PROGRESS_BYTES_CAP:
            message = f"more than {PROGRESS_BYTES_CAP} bytes of progress reports"
            raise FrameError(message)

    def _check_artifact(self, length: int) -> None:
        """Hold an artifact against the limits, once it has said how long its head is."""
        head = bytes(self._buffer[protocol.HEADER.size : _ARTIFACT_START])
        if length >= protocol.HEAD_LENGTH.size > len(head):
            return
        total = self._artifact_bytes + _raw_bytes(length, head)
        if self._artifacts >= protocol.MOST_ARTIFACTS:
            raise ReplyTooLargeError(self._artifacts + 1, ARTIFACTS)
        if total > self._artifacts_cap:
            raise ReplyTooLargeError(total, "artifacts_mb")


def _raw_bytes(length: int, head: bytes) -> int:
    """Return how many raw bytes an ARTIFACT frame of a length holds, from where its body begins."""
    if length < protocol.HEAD_LENGTH.size:
        message = f"a frame {protocol.ARTIFACT!r} of {length} bytes, without a head"
        raise FrameError(message)
    (head_length,) = protocol.HEAD_LENGTH.unpack_from(head)
    left: int = length - protocol.HEAD_LENGTH.size - head_length
    if head_length > protocol.ARTIFACT_HEAD_CAP or left < 0:
        message = f"a frame {protocol.ARTIFACT!r} with a head of {head_length} bytes"
        raise FrameError(message)
    return left
