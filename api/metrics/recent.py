"""The last calls of each plugin, in memory that the processes of a server share.

``Tables`` has one ``Recent`` a worker. That one alone writes to it, from the observer of calls, and
all are read by whoever is asked. A worker that takes a dead one's place goes on behind its calls.

A plugin has a block of a fixed size, and in it a ring for each kind of end: what succeeded, what
its caller is to blame for, and all other failures. So none of them pushes out the others, and no
plugin those of another. A slot is its number, the length and the checksum of what it holds, and
JSON. A number that is not that of its slot, or a sum that is not right, is a slot that is being
written, or whose writer has died: it is passed over.
"""

from __future__ import annotations

import json
import mmap
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from toolrunner.api.shown import public
from toolrunner.runner.errors import cut_end
from toolrunner.runner.services.plugin_management import Executed
from toolrunner.sandbox import forks
from toolrunner.sandbox.ending import Usage

MOST_PLUGINS = 1000
_PAGE = 4096
_HEAD = struct.Struct("QQQ256s")  # how many calls each ring has had; the plugin's name
_SLOT = struct.Struct("QII")
_COUNT = struct.Struct("Q")
_MOST_CALLER_BYTES = 100
_MOST_MESSAGE_BYTES = 1000
# What of an error's details is kept where there is no room for all of them.
_SHORT = ("blame", "limit", "exception", "signal", "exit_code", "cancelled_by", "call_id")
_MOST_SHORT_BYTES = 200
_MOST_NAME_BYTES = 256
_USAGE = tuple(one.name for one in fields(Usage))


@dataclass(frozen=True, slots=True)
class Ring:
    """A part of a block: where it begins, how many slots it has, and of which size."""

    number: int
    at: int
    slots: int
    size: int


SUCCEEDED = Ring(0, _PAGE, 16, 512)
REFUSED = Ring(1, SUCCEEDED.at + 16 * 512, 6, 2048)
FAILED = Ring(2, REFUSED.at + 6 * 2048, 10, 4096)
_RINGS = (SUCCEEDED, REFUSED, FAILED)
BLOCK_BYTES = FAILED.at + FAILED.slots * FAILED.size


@dataclass(frozen=True, slots=True)
class RecentCall:
    """A call that has ended. ``error`` is its envelope's public half, as far as there was room.

    ``mode``: how it started. ``door``: by which it came. ``artifacts``: how many it gave back.
    """

    at: datetime
    plugin: str
    call_id: str
    caller: str
    door: str
    outcome: str
    ms: int
    mode: str
    artifacts: int
    usage: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None


class Recent:
    """One worker's last calls. Thread-safe; only the worker that it belongs to notes anything."""

    def __init__(self, most: int = MOST_PLUGINS) -> None:
        """Have room for ``most`` plugins. The kernel gives a page when it is first written to."""
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        self._memory = mmap.mmap(-1, _PAGE + most * BLOCK_BYTES, flags=flags)
        self._most = most
        self._begin()
        forks.in_each_child(self, Recent._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._blocks = {plugin: block for block, plugin in self._plugins()}

    def take(self) -> None:
        """Go on behind what is there: it is this process's from now on."""
        with self._lock:
            self._blocks = {plugin: block for block, plugin in self._plugins()}

    def note(self, executed: Executed) -> None:
        """Note a call; one whose plugin nobody knows, or has no room any more, is not."""
        if not executed.plugin:
            return
        ring = _ring_of(executed)
        text = _written(executed, ring.size - _SLOT.size)
        with self._lock:
            block = self._block(executed.plugin)
            if not block:
                return
            at = block + ring.number * _COUNT.size
            [number] = _COUNT.unpack_from(self._memory, at)
            slot = block + ring.at + number % ring.slots * ring.size
            # First what says that the rest is not right yet; the number of calls from 1.
            _SLOT.pack_into(self._memory, slot, 0, 0, 0)
            self._memory[slot + _SLOT.size : slot + _SLOT.size + len(text)] = text
            _SLOT.pack_into(self._memory, slot, number + 1, len(text), zlib.crc32(text))
            _COUNT.pack_into(self._memory, at, number + 1)

    def read(self, plugin: str | None = None) -> Iterator[RecentCall]:
        """Yield the calls of a plugin, or of all, in no order."""
        for block, name in self._plugins():
            if plugin in {None, name}:
                for ring in _RINGS:
                    yield from self._calls(block + ring.at, ring, name)

    def _calls(self, start: int, ring: Ring, plugin: str) -> Iterator[RecentCall]:
        for place in range(ring.slots):
            at = start + place * ring.size
            data = self._memory[at : at + ring.size]  # a copy: what is checked is what is read
            number, length, checksum = _SLOT.unpack_from(data)
            text = data[_SLOT.size : _SLOT.size + length]
            # Where the number is written and the length not yet, the sum of nothing is right.
            is_whole = length and (number - 1) % ring.slots == place and len(text) == length
            if is_whole and zlib.crc32(text) == checksum:
                yield _read(text, plugin)

    def _plugins(self) -> Iterator[tuple[int, str]]:
        """Yield where the block of each plugin begins."""
        [used] = _COUNT.unpack_from(self._memory, 0)
        for number in range(min(used, self._most)):
            block = _PAGE + number * BLOCK_BYTES
            name = _HEAD.unpack_from(self._memory, block)[-1]
            yield block, name.rstrip(b"\0").decode("utf-8", "replace")

    def _block(self, plugin: str) -> int:
        """Return where a plugin's block begins, and 0 where there is no room for one."""
        if block := self._blocks.get(plugin, 0):
            return block
        name = plugin.encode()
        used: int = _COUNT.unpack_from(self._memory, 0)[0]
        if used >= self._most or len(name) > _MOST_NAME_BYTES:
            return 0
        block = _PAGE + used * BLOCK_BYTES
        _HEAD.pack_into(self._memory, block, 0, 0, 0, name)
        _COUNT.pack_into(self._memory, 0, used + 1)  # from now on it is read
        self._blocks[plugin] = block
        return block


def _ring_of(executed: Executed) -> Ring:
    if executed.error is None:
        return SUCCEEDED
    return REFUSED if executed.error["details"].get("blame") == "caller" else FAILED


def _written(executed: Executed, most: int) -> bytes:
    """Return a call as JSON that is not longer than ``most``."""
    call = executed.call
    shown: dict[str, Any] = {
        "at": time.time(),
        "id": call.call_id,
        "caller": cut_end(call.caller, _MOST_CALLER_BYTES),
        "door": call.door,
        "outcome": executed.outcome,
        "ms": round(executed.seconds * 1000),
        "mode": call.isolation.mode,
        "artifacts": len(call.artifacts),
    }
    if executed.error is None:
        shown["usage"] = {name: getattr(call.usage, name) for name in _USAGE}
        text = _dumped(shown)
        if len(text) > most:  # a caller's name of characters that JSON writes in six
            text = _dumped({**shown, "caller": ""})
        return text
    for error in _shorter(executed.error):
        text = _dumped({**shown, "error": error})
        if len(text) <= most:
            return text
    return _dumped({**shown, "caller": ""})


def _shorter(error: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield an error without its log, then with less and less of it."""
    details: Mapping[str, Any] = error["details"]
    details = {name: value for name, value in details.items() if name != "log_tail"}
    message = cut_end(error["message"], _MOST_MESSAGE_BYTES)
    whole = {**error, "message": message, "details": details}
    yield whole
    usage = details.get("usage", {})
    short = {
        name: details[name]
        for name in _SHORT
        if name in details and len(_dumped(details[name])) <= _MOST_SHORT_BYTES
    }
    yield {**whole, "details": {**short, "usage": usage}}
    least = {"blame": details.get("blame"), "usage": usage}
    yield {**whole, "message": cut_end(message, _MOST_SHORT_BYTES), "details": least}
    yield {"type": whole["type"], "message": "", "details": least}


def _dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _read(text: bytes, plugin: str) -> RecentCall:
    """Return a call; what may not leave the host is taken out here, where no call waits for it."""
    shown = json.loads(text)
    error = shown.get("error")
    return RecentCall(
        datetime.fromtimestamp(shown["at"], UTC),
        plugin,
        shown["id"],
        shown["caller"],
        shown["door"],
        shown["outcome"],
        shown["ms"],
        shown["mode"],
        shown["artifacts"],
        shown.get("usage") or (error or {}).get("details", {}).get("usage", {}),
        None if error is None else public(error),
    )
