"""Keeps what a plugin prints and logs, within bounds. All of it is hostile bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.json_values import MOST_VALUES, count_values

_CHUNK = 1 << 16
_TURNS = 8
_LINE_BYTES = 64  # what a line costs beside its length: looking at one takes time, however short


def read_some(descriptor: int) -> tuple[bytes, bool]:
    """Read what is there now, within bounds; return it and whether more may come."""
    data = bytearray()
    for _ in range(_TURNS):
        try:
            chunk = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            break
        if not chunk:
            return bytes(data), False
        data += chunk
    return bytes(data), True


def printable(text: str, but: str = "") -> str:
    """Return a text with a mark for what cannot be printed, ``but`` for some characters."""
    return "".join(c if c.isprintable() or c in but else "\N{REPLACEMENT CHARACTER}" for c in text)


class Tail:
    """The last bytes of stdout and stderr, and a count of those dropped before them."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._kept = bytearray()
        self.dropped = 0

    def read(self, descriptor: int) -> bool:
        """Take in what is there; return false at the end."""
        data, more = read_some(descriptor)
        self._kept += data
        if len(self._kept) > self._cap:
            self.dropped += len(self._kept) - self._cap
            del self._kept[: len(self._kept) - self._cap]
        return more

    def text(self) -> str:
        """Return what was kept, with what is not text made harmless."""
        return printable(self._kept.decode("utf-8", "replace"), but="\n\t")


class LogLines:
    """JSON lines of a plugin's ``logging``, passed on one by one, up to a number of bytes."""

    def __init__(self, cap: int, emit: Callable[[int, str, str], None]) -> None:
        self._left = cap
        self._emit = emit
        self._rest = b""
        self.dropped = 0

    def read(self, descriptor: int) -> bool:
        """Take in what is there; return false at the end."""
        data, more = read_some(descriptor)
        if self._left <= 0:
            self.dropped += len(data)
            return more
        *lines, self._rest = (self._rest + data).split(b"\n", self._left // _LINE_BYTES + 1)
        for line in lines:
            self._line(line)
        if len(self._rest) > protocol.LOG_LINE_CAP:
            self.dropped += len(self._rest)
            self._rest = b""
        return more

    def _line(self, line: bytes) -> None:
        record = parse_line(line) if len(line) <= self._left else None
        self._left -= max(len(line), _LINE_BYTES)
        if record is None:
            self.dropped += len(line) + 1
        else:
            self._emit(*record)


def parse_line(line: bytes) -> tuple[int, str, str] | None:
    """Return level, logger and message of a line, or ``None`` if it is not one of ours."""
    if len(line) > protocol.LOG_LINE_CAP or count_values(line) > MOST_VALUES:
        return None
    try:
        record = json.loads(line)
        level, logger, message = record["level"], record["logger"], record["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if type(level) is not int or not isinstance(logger, str) or not isinstance(message, str):
        return None
    return min(max(level, 0), 50), logger, message
