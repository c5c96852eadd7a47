"""Where the processes of a server count: memory that they share, and no file.

The supervisor makes ``Tables`` before it forks. Each worker writes to its own, and all are read by
whoever is asked; so nothing is lost with a worker, and no disk can be full. What a dead worker has
counted is added to the supervisor's table, so there are never more of them than places.

A table is a header and entries: a key's length, the key, padding, and a number. An entry is never
moved, and its number is one word, which a reader has whole or not at all.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator

from toolrunner.api.metrics.recent import Recent, RecentCall
from toolrunner.sandbox import forks

Key = tuple[str, ...]  # a family's name, and the values of its labels

# Room for a thousand plugins. The kernel gives a page when it is first written to.
TABLE_BYTES = 4 << 20
_WORD = 8
_USED, _OWNER, _DROPPED, _SEQUENCE, _HEADER = (number * _WORD for number in range(5))
_LENGTH = struct.Struct("Q")
_VALUE = struct.Struct("d")
_SEPARATOR = "\x1f"
_MOST_KEY_BYTES = 4096
_PAUSE_SECONDS = 0.001
_MOST_TRIES = 1000


class Table:
    """One process's own figures; ``begin`` makes it this process's. Thread-safe."""

    def __init__(self, size: int = TABLE_BYTES) -> None:
        self._memory = mmap.mmap(-1, size)
        self._size = size
        self._begin()
        forks.in_each_child(self, Table._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[Key, int] = {}

    def begin(self) -> None:
        """Begin with nothing, and as this process's."""
        with self._lock:
            self._places.clear()
            self._put(_USED, 0)
            self._put(_DROPPED, 0)
            self._put(_OWNER, os.getpid())

    @property
    def owner(self) -> int:
        """The process that counts in it; 0 for nobody."""
        return self._word(_OWNER)

    @property
    def dropped(self) -> int:
        """How often there was no room for a new key."""
        return self._word(_DROPPED)

    def add(self, key: Key, number: float) -> None:
        """Add to a key's number."""
        with self._lock:
            if place := self._place(key):
                [value] = _VALUE.unpack_from(self._memory, place)
                _VALUE.pack_into(self._memory, place, value + number)

    def set(self, key: Key, number: float) -> None:
        """Replace a key's number."""
        with self._lock:
            if place := self._place(key):
                _VALUE.pack_into(self._memory, place, number)

    def read(self) -> Iterator[tuple[Key, float]]:
        """Yield each key with its number, whoever has counted it."""
        data = self._memory[_HEADER : _HEADER + self._word(_USED)]
        at = 0
        while at + _WORD <= len(data):
            [length] = _LENGTH.unpack_from(data, at)
            value = at + _WORD + _padded(length)
            if length > _MOST_KEY_BYTES or value + _WORD > len(data):
                return
            text = data[at + _WORD : at + _WORD + length].decode("utf-8", "replace")
            yield tuple(text.split(_SEPARATOR)), _VALUE.unpack_from(data, value)[0]
            at = value + _WORD

    def clear(self) -> None:
        """Hold nothing, and be nobody's: for who reads it when its process is dead."""
        self._put(_USED, 0)
        self._put(_OWNER, 0)

    def _place(self, key: Key) -> int:
        """Return where a key's number is, and 0 where there is no room for it."""
        if place := self._places.get(key, 0):
            return place
        text = _SEPARATOR.join(key).encode()
        used = self._word(_USED)
        start = _HEADER + used
        place = start + _WORD + _padded(len(text))
        if place + _WORD > self._size or len(text) > _MOST_KEY_BYTES:
            self._put(_DROPPED, self._word(_DROPPED) + 1)
            return 0
        _LENGTH.pack_into(self._memory, start, len(text))
        self._memory[start + _WORD : start + _WORD + len(text)] = text
        _VALUE.pack_into(self._memory, place, 0.0)
        self._put(_USED, place + _WORD - _HEADER)  # from now on it is read
        self._places[key] = place
        return place

    def _word(self, at: int) -> int:
        found: int = _LENGTH.unpack_from(self._memory, at)[0]
        return found

    def _put(self, at: int, number: int) -> None:
        _LENGTH.pack_into(self._memory, at, number)


class Deaths:
    """When workers have died lately: the supervisor notes it, and every worker reads it."""

    MOST = 64

    def __init__(self) -> None:
        self._table = Table(mmap.PAGESIZE)
        self._number = 0

    def note(self) -> None:
        """Note that one has died now; the oldest is forgotten."""
        self._table.set((str(self._number % self.MOST),), time.monotonic())
        self._number += 1

    def recent(self, seconds: float) -> int:
        """Return how many have died in the last ``seconds``, and ``MOST`` for more than that."""
        since = time.monotonic() - seconds
        return sum(moment >= since for _, moment in self._table.read())


class Tables:
    """The tables of a server: one a worker, and the supervisor's. Made before the first fork."""

    def __init__(self, workers: int, size: int = TABLE_BYTES) -> None:
        self.own = Table(size)
        self.own.begin()
        self._workers = [Table(size) for _ in range(workers)]
        self._recent = [Recent() for _ in range(workers)]
        self.deaths = Deaths()

    def recent_of(self, number: int) -> Recent:
        """Return the last calls of a worker's place, to go on with. To be called in that worker."""
        recent = self._recent[number]
        recent.take()
        return recent

    def last_calls(self, plugin: str | None = None) -> list[RecentCall]:
        """Return the last calls of a plugin, or of all, in all workers: the newest first."""
        found = [call for recent in self._recent for call in recent.read(plugin)]
        return sorted(found, key=lambda call: call.at, reverse=True)

    def of_worker(self, number: int) -> Table:
        """Return the table of a worker's place, empty. To be called in that worker."""
        table = self._workers[number]
        table.begin()
        return table

    def fold(self, pid: int, is_lasting: Callable[[Key], bool]) -> dict[Key, float]:
        """Add a dead worker's lasting figures to the supervisor's own; return the others."""
        others: dict[Key, float] = {}
        for table in self._workers:
            if table.owner == pid:
                # Who reads meanwhile would see what is in both, or in none, and reads again.
                self._step()
                for key, number in table.read():
                    if is_lasting(key):
                        self.own.add(key, number)
                    else:
                        others[key] = number
                table.clear()
                self._step()
        return others

    def read(self) -> list[list[tuple[Key, float]]]:
        """Return what is in each table, at a moment when no worker's is being folded."""
        for _ in range(_MOST_TRIES):
            before = self._sequence()
            found = [list(table.read()) for table in (self.own, *self._workers)]
            if before % 2 == 0 and self._sequence() == before:
                break
            time.sleep(_PAUSE_SECONDS)
        return found

    def dropped(self) -> int:
        """Return how often there was no room for a new key, in all tables."""
        return sum(table.dropped for table in (self.own, *self._workers))

    def _sequence(self) -> int:
        return self.own._word(_SEQUENCE)

    def _step(self) -> None:
        self.own._put(_SEQUENCE, self._sequence() + 1)


def _padded(length: int) -> int:
    return -(-length // _WORD) * _WORD
