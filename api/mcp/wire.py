"""Standard input and output as the protocol's own: lines that are read and written by two threads.

The SDK's way leaves a thread in the middle of a read that nothing ends, so that Ctrl-C waits for
one more line. These threads hold nothing that the program's end would wait for. While the protocol
has the streams, nobody else can reach them: what is printed goes to standard error.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import queue
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import cast

from anyio import AsyncFile

from toolrunner.api.mcp.messages import INVALID_REQUEST, MOST_MESSAGE_MB, Refused, message_in
from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.shortage import started

_PIECE_BYTES = 1 << 16
_FIRST_FREE = 3  # no standard stream's number
_STDIN, _STDOUT, _STDERR = 0, 1, 2


class Lines:
    """The lines of a descriptor, for an event loop. Of a long one: ``most_bytes``, and one more."""

    def __init__(self, descriptor: int, most_bytes: int) -> None:
        self._descriptor = descriptor
        self._most_bytes = most_bytes
        self._loop = asyncio.get_running_loop()
        self._read: asyncio.Queue[bytes] = asyncio.Queue()
        self._wanted: queue.SimpleQueue[None] = queue.SimpleQueue()
        started(self._go_on, "toolrunner-stdin")

    def _go_on(self) -> None:
        """Read a piece each time that one is wanted, up to the end."""
        piece = b"begun"
        while piece:
            self._wanted.get()
            try:
                piece = os.read(self._descriptor, _PIECE_BYTES)
            except OSError:  # such as a terminal that has gone
                piece = b""
            try:
                self._loop.call_soon_threadsafe(self._read.put_nowait, piece)
            except RuntimeError:  # the loop is closed
                return

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield each line that is not blank; what comes after the last one's end is none."""
        line = bytearray()
        while True:
            self._wanted.put(None)
            piece = await self._read.get()
            if not piece:
                return
            *ended, rest = piece.split(b"\n")
            for end in ended:
                self._add(line, end)
                if line.strip():
                    yield bytes(line)
                line.clear()
            self._add(line, rest)

    def _add(self, line: bytearray, piece: bytes) -> None:
        """Make a line longer by no more than it may have."""
        line += piece[: self._most_bytes + 1 - len(line)]


class Output:
    """A descriptor that text is written to, for an event loop."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._texts: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        self._gone = asyncio.Event()
        started(self._go_on, "toolrunner-stdout")

    async def write(self, text: str) -> None:
        """Write all of a text. Nobody is told of a reader who has gone, but by ``gone``."""
        written: asyncio.Future[None] = self._loop.create_future()
        self._texts.put((text.encode(errors="backslashreplace"), written))
        await written

    async def flush(self) -> None:
        """Be done: nothing is held back."""

    async def gone(self) -> None:
        """Return when nobody reads any more."""
        await self._gone.wait()

    def _go_on(self) -> None:
        while True:
            data, written = self._texts.get()
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(self._descriptor, view) :]
            except OSError:
                self._later(self._gone.set)
            self._later(_done, written)

    def _later(self, step: object, *given: object) -> None:
        try:
            self._loop.call_soon_threadsafe(step, *given)  # type: ignore[arg-type]  # functions
        except RuntimeError:  # the loop is closed
            return


class Messages:
    """What a client sends by lines. Those that are no messages are answered, and left out."""

    def __init__(self, descriptor: int, output: Output) -> None:
        self._lines = Lines(descriptor, MOST_MESSAGE_MB * MIB)
        self._output = output

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield each message, as text."""
        async for line in self._lines:
            refused = _refusal_of(line)
            if refused is None:
                yield line.decode()
            else:
                await self._output.write(json.dumps(refused.document()) + "\n")


def _refusal_of(line: bytes) -> Refused | None:
    if len(line) > MOST_MESSAGE_MB * MIB:
        words = f"a message is larger than {MOST_MESSAGE_MB} MB; name large files with --files"
        return Refused(INVALID_REQUEST, words)
    given = message_in(line)
    return given if isinstance(given, Refused) else None


def _done(written: asyncio.Future[None]) -> None:
    if not written.done():
        written.set_result(None)


@contextmanager
def taken_streams() -> Iterator[tuple[int, int]]:
    """Take standard input and output; yield their descriptors, and give them back at the end.

    Meanwhile there is nothing to be read in their place, and what is printed is an error's.
    """
    given = fcntl.fcntl(_STDIN, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
    taken = fcntl.fcntl(_STDOUT, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, _STDIN)
    os.close(nothing)
    os.dup2(_STDERR, _STDOUT)
    try:
        yield given, taken
    finally:
        # Both stay open: a thread may be in the middle of either, and the number may be anybody's.
        os.dup2(given, _STDIN)
        os.dup2(taken, _STDOUT)


def as_file(stream: Messages | Output) -> AsyncFile[str]:
    """Return a stream as the kind of file that the SDK asks for: it uses no more than these do."""
    return cast("AsyncFile[str]", stream)
