"""The places and the waiting room of a server, as all its workers share them.

The supervisor makes ``SharedPlaces`` before it forks; each worker takes its ``PlacesShare`` of it,
and ``admission`` asks that for each place. What is taken are the kernel's own locks, on bytes of a
file that has no name: a worker that dies, however it dies, has given all of them back.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import math
import mmap
import os
import resource
import select
import struct
from collections.abc import Mapping
from enum import Enum

# struct flock, as on each 64-bit Linux: type, whence, start, length, process.
_FLOCK = struct.Struct("@hhqqi4x")
# Each number of bytes that is bounded has so many: more than a server can have of anything.
_REGION_BYTES = 1 << 24
_ALIVE, _PLACES, _WAITING, _PLUGINS = range(4)
# A plugin's bytes lie where the hash of its name says; offsets have 63 bits.
_HASH_BITS = 38
# What a worker tells of its waiting calls: how many, since when one has waited for any place at
# all, since when one has waited of the plugins whose hash ends so, and how many there are of the
# callers whose hash ends so.
_HOW_MANY, _FOR_ANY, _FOR_PLUGIN = range(3)
_BUCKETS = 62
_OF_CALLER = _FOR_PLUGIN + _BUCKETS
# Two callers in one of these would be one to the others: so there are more of them.
_CALLER_BUCKETS = 960
_ROW = _OF_CALLER + _CALLER_BUCKETS
_DOUBLE_BYTES = 8
# A call has about so many descriptors open, and so many are kept for connections, boxes and files.
_CALL_DESCRIPTORS = 8
_KEPT_DESCRIPTORS = 600
_NEVER = math.inf

Key = tuple[str, int]  # a plugin, and how many of its calls share a place


class Lack(Enum):
    """Why a place could not be had."""

    PARALLEL = "all places of the plugin are taken"
    PLACES = "all places are taken"


class SharedPlaces:
    """What all workers share. Made before the first of them is forked."""

    def __init__(self, workers: int, places: int, parallel: int, max_waiting: int) -> None:
        """Numbers are one worker's: the server has as many times as much as it has workers."""
        self.workers = workers
        self.places = min(workers * places, _REGION_BYTES)
        self.parallel = min(workers * parallel, _REGION_BYTES)
        self.max_waiting = min(workers * max_waiting, _REGION_BYTES)
        self._own_places, self._own_parallel = places, parallel
        self._file = os.memfd_create("toolrunner-places", os.MFD_CLOEXEC)
        self._board = mmap.mmap(-1, workers * _ROW * _DOUBLE_BYTES)
        self._bells = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(workers)]

    def share(self, number: int) -> PlacesShare:
        """Return a worker's part in it. To be called in that worker, once."""
        return PlacesShare(self, number, self._file, self._board, self._bells)

    def close(self) -> None:
        """Let go of it, in the supervisor; workers that live keep theirs."""
        for descriptor in (self._file, *self._bells):
            os.close(descriptor)

    def most_places_here(self) -> int:
        """Return how many of all places one worker can use, by its descriptors."""
        return max(self._own_places, min(self.places, _affordable()))

    def most_parallel_here(self) -> int:
        """Return the same of one plugin's."""
        return max(self._own_parallel, min(self.parallel, _affordable()))


class PlacesShare:
    """One worker's part in the places of all. Its one user, ``Admission``, keeps threads apart."""

    def __init__(
        self,
        shared: SharedPlaces,
        number: int,
        file: int,
        board: mmap.mmap,
        bells: list[int],
    ) -> None:
        self.places = shared.most_places_here()
        self.parallel = shared.most_parallel_here()
        self.max_waiting = shared.max_waiting
        self._all_parallel = shared.parallel
        self._number = number
        self._workers = shared.workers
        self._others = [n for n in range(shared.workers) if n != number]
        self._file = file
        self._bells = bells
        self._board = memoryview(board).cast("d")
        self._alive = self._locks(_ALIVE, shared.workers)
        self._taken = self._locks(_PLACES, shared.places)
        self._queue = self._locks(_WAITING, shared.max_waiting)
        self._of: dict[Key, _Locks] = {}
        self._told: dict[int, float] = {}
        # The one before us in this place may have died.
        for column in range(_ROW):
            self._board[number * _ROW + column] = 0.0
        self._alive.take()

    def take(self, key: Key) -> Lack | None:
        """Take one of all places for a plugin, and one of the plugin's; say which there is not."""
        own = self._of.get(key)
        if own is None:
            own = self._locks(_PLUGINS + _hash(key), self._all_parallel)
        if not own.take():
            return Lack.PARALLEL
        if not self._taken.take():
            own.give()
            return Lack.PLACES
        self._of[key] = own
        return None

    def give(self, key: Key) -> None:
        """Give back what ``take`` has taken, and let those know who wait for it elsewhere."""
        own = self._of[key]
        own.give()
        if not own.number:
            del self._of[key]
        self._taken.give()
        self.ring_others()

    def queue(self) -> bool:
        """Take a seat in the waiting room, and tell whether there was one."""
        return self._queue.take()

    def waiting_elsewhere(self, caller: str) -> tuple[int, int]:
        """Return how many calls of a caller wait in other workers, and how many of all."""
        own = taken = 0
        for number in self._others:
            row = number * _ROW
            if self._board[row + _HOW_MANY] and self._alive.is_taken(number):
                own += int(self._board[row + _caller_column(caller)])
                taken += int(self._board[row + _HOW_MANY])
        return own, taken

    def tell(
        self, for_any: float | None, of: Mapping[Key, float], callers: Mapping[str, int]
    ) -> None:
        """Say who waits here: since when, for any place or for a plugin's, and how many of whom.

        Seats beyond their number are given back.
        """
        waiting = sum(callers.values())
        while self._queue.number > waiting:
            self._queue.give()
        now = {_HOW_MANY: float(waiting)}
        if for_any is not None:
            now[_FOR_ANY] = for_any
        for key, since in of.items():
            column = _column(key)
            now[column] = min(since, now.get(column, _NEVER))
        for caller, count in callers.items():
            column = _caller_column(caller)
            now[column] = now.get(column, 0) + count
        row = self._number * _ROW
        for column in self._told.keys() - now.keys():
            self._board[row + column] = 0.0
        for column, value in now.items():
            self._board[row + column] = value
        self._told = now

    def tell_nobody_waits(self) -> None:
        """Say that; where it has been said already, it costs nothing."""
        if self._queue.number or len(self._told) > 1 or self._told.get(_HOW_MANY):
            self.tell(None, {}, {})

    def is_older_elsewhere(self, key: Key, since: float, since_any: float) -> bool:
        """Whether a call waits in another worker that could use this plugin's next place first.

        ``since``, ``since_any``: when the oldest one came that waits here, for the plugin or at
        all.
        """
        column = _column(key)
        for number in self._others:
            row = number * _ROW
            of_it, any_ = self._board[row + column], self._board[row + _FOR_ANY]
            is_older = (0 < of_it < since) or (0 < any_ < since_any)
            # What a dead one has told stands there until the next has its place.
            if is_older and self._alive.is_taken(number):
                return True
        return False

    def ring_others(self) -> None:
        """Wake the workers in which calls wait: a place may be free."""
        for number in self._others:
            if self._board[number * _ROW + _HOW_MANY]:
                self._ring(number)

    def ring(self) -> None:
        """Wake who waits in ``rung`` here."""
        self._ring(self._number)

    def rung(self, seconds: float) -> None:
        """Wait until somebody rings, or so long."""
        bell = self._bells[self._number]
        waiter = select.poll()
        waiter.register(bell, select.POLLIN)
        waiter.poll(math.ceil(seconds * 1000))
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(bell)

    def _locks(self, region: int, most: int) -> _Locks:
        # Workers begin at different bytes: then each one's locks lie together, and are few.
        return _Locks(self._file, region, most, self._number * most // self._workers)

    def _ring(self, number: int) -> None:
        with contextlib.suppress(BlockingIOError):  # it has been rung more often than it counts
            os.eventfd_write(self._bells[number], 1)


class _Locks:
    """A bounded number of bytes of the file, and which of them this process has locked.

    The locks are the process's own (``F_SETLK``), and no fork of it has them. They would end with
    the closing of any descriptor of the file in this process, so that there is only the one.
    """

    def __init__(self, file: int, region: int, most: int, start: int) -> None:
        """``start``: where to begin to look for a free one."""
        self._file = file
        self._base = region * _REGION_BYTES
        self._most = most
        self._start = start
        self._own: dict[int, None] = {}

    @property
    def number(self) -> int:
        """How many this process has."""
        return len(self._own)

    def take(self) -> bool:
        """Lock one that is free, and tell whether there was one."""
        return self._take_one(self._start, self._most) or self._take_one(0, self._start)

    def give(self) -> None:
        """Unlock the one that was taken last."""
        at, _ = self._own.popitem()
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, self._base + at)

    def is_taken(self, at: int) -> bool:
        """Whether another process has locked this one."""
        return self._behind(at) > at

    def _take_one(self, start: int, end: int) -> bool:
        at = start
        while at < end:
            if at in self._own:
                at += 1
            elif self._lock(at):
                self._own[at] = None
                return True
            else:
                at = self._behind(at)
        return False

    def _lock(self, at: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._base + at)
        except (BlockingIOError, PermissionError):  # EAGAIN, and EACCES: the standard allows both
            return False
        return True

    def _behind(self, at: int) -> int:
        """Return the first byte behind the lock of another process that ``at`` lies in.

        ``at`` itself, when there is none any more.
        """
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, self._base + at, 1, 0)
        found = fcntl.fcntl(self._file, fcntl.F_GETLK, asked)
        kind, _, start, length, _ = _FLOCK.unpack(found)
        return at if kind == fcntl.F_UNLCK else start + length - self._base


@functools.lru_cache(maxsize=1024)
def _hash(key: Key) -> int:
    """Return the same number in all workers, whatever the seed of their own hashes."""
    digest = hashlib.blake2b(repr(key).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) >> (64 - _HASH_BITS)


def _column(key: Key) -> int:
    return _FOR_PLUGIN + _hash(key) % _BUCKETS


def _caller_column(caller: str) -> int:
    return _OF_CALLER + _hash((caller, 0)) % _CALLER_BUCKETS


def _affordable() -> int:
    """Return how many calls this process has descriptors for."""
    own = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if own == resource.RLIM_INFINITY:
        return _REGION_BYTES
    return (own - _KEPT_DESCRIPTORS) // _CALL_DESCRIPTORS
