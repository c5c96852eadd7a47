"""Calls that another request takes back, whichever worker of a server that request reaches.

The supervisor makes ``Wires`` before it forks: a pipe for each worker. What is sent through them is
a mark, which says nothing but which call is meant to who has it; nobody else has any use for it. A
write is whole or not at all, and no worker waits for another: what does not fit is lost, and a call
goes on to its own end then.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_MARK_BYTES = 32  # far below what a pipe takes at once
_READ_BYTES = _MARK_BYTES * 128
# What is taken back may still be on its way to its worker.
_KEPT_SECONDS = 10.0
_MOST_KEPT = 4096


def mark_of(*what: str | int) -> bytes:
    """Return the mark of what is called so: the same for all workers, and for nothing else."""
    return hashlib.sha256(json.dumps(what).encode()).digest()


@dataclass(frozen=True, slots=True)
class Wire:
    """One worker's ends: what it hears by, and what it tells the others by."""

    heard: int
    others: tuple[int, ...]


class Wires:
    """The pipes of all workers. Made before the first of them is forked."""

    def __init__(self, workers: int) -> None:
        flags = os.O_CLOEXEC | os.O_NONBLOCK
        self._pipes = [os.pipe2(flags) for _ in range(workers if workers > 1 else 0)]

    def of(self, number: int) -> Wire | None:
        """Return a worker's ends; ``None`` for one that is alone."""
        if not self._pipes:
            return None
        others = tuple(end for n, (_, end) in enumerate(self._pipes) if n != number)
        return Wire(self._pipes[number][0], others)

    def close(self) -> None:
        """Let go of them, in the supervisor; workers that live keep theirs."""
        for pipe in self._pipes:
            for descriptor in pipe:
                os.close(descriptor)


class Withdrawals:
    """What ends each call of this worker that may be taken back. For an event loop."""

    def __init__(self, wire: Wire | None = None) -> None:
        self._wire = wire
        self._listens = False
        self._ends: dict[bytes, dict[object, Callable[[], None]]] = {}
        # What was taken back lately, and when.
        self._late: collections.OrderedDict[bytes, float] = collections.OrderedDict()

    @contextmanager
    def during(self, marks: Iterable[bytes], end: Callable[[], None]) -> Iterator[None]:
        """Call ``end`` if what one of the marks means is taken back meanwhile, or was just now."""
        self._listen()
        taken, token = list(marks), object()
        for mark in taken:
            self._ends.setdefault(mark, {})[token] = end
        try:
            if any(self._is_late(mark) for mark in taken):
                end()
            yield
        finally:
            for mark in taken:
                del self._ends[mark][token]
                if not self._ends[mark]:
                    del self._ends[mark]

    def withdraw(self, mark: bytes) -> None:
        """Take back what a mark means, in whatever worker it is."""
        self._end(mark)
        if self._wire is None:
            return
        for other in self._wire.others:
            with contextlib.suppress(OSError):  # one that is stopped has not read for long
                os.write(other, mark)

    def _listen(self) -> None:
        if self._wire is None or self._listens:
            return
        self._listens = True
        asyncio.get_running_loop().add_reader(self._wire.heard, self._hear)
        self._hear()

    def _hear(self) -> None:
        assert self._wire is not None
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._wire.heard, _READ_BYTES):
                for at in range(0, len(data), _MARK_BYTES):
                    self._end(data[at : at + _MARK_BYTES])

    def _end(self, mark: bytes) -> None:
        self._late[mark] = time.monotonic()
        self._late.move_to_end(mark)
        if len(self._late) > _MOST_KEPT:
            self._late.popitem(last=False)
        for end in list(self._ends.get(mark, {}).values()):
            end()

    def _is_late(self, mark: bytes) -> bool:
        since = self._late.get(mark)
        return since is not None and time.monotonic() - since < _KEPT_SECONDS
