"""One run of a program: started, fed, heard out and, at its end, told how it ended.

Called by ``command``, in a cell. The program has four descriptors: what it is given (0), what it
answers (1), its errors (2), which are passed on to the call's output, and its progress (3). It is
over when the program has ended, whoever still holds its pipes open.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import select
import signal

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CHUNK = 1 << 16
_ERRORS = 2
_TAIL = 8192  # bytes of its errors that are kept to be quoted
_LONGEST_LINE = 1 << 16
_MOST_IN_A_PIPE = 1 << 20
_NOT_PROGRESS = (
    'descriptor 3 is for progress, a line of JSON each, as {"fraction": 0.5, "message": "half"}; '
    "this is none: "
)


class Conversation:
    """A program's run, made for one. ``answer``: its standard output, ``errors``: the end of 2."""

    def __init__(
        self, given: bytes, most_bytes: int, on_progress: Callable[[Any, Any], None]
    ) -> None:
        """``given``: its standard input. ``most_bytes``: of an answer; with more it is ended."""
        self.answer = bytearray()
        self.errors = b""
        self._given = memoryview(given)
        self._most_bytes = most_bytes
        self._on_progress = on_progress
        self._line = b""
        self._has_complained = False
        self._pid = 0
        self._status: int | None = None
        self._poll = select.poll()
        self._open: set[int] = set()
        self._hears: dict[int, Callable[[int], None]] = {}

    @property
    def is_too_long(self) -> bool:
        """Whether the answer holds more than it may."""
        return len(self.answer) > self._most_bytes

    def hold(self, path: str, words: list[str], environment: dict[str, str]) -> int:
        """Run a program to its end; return its status, as ``waitpid`` has it.

        ``OSError`` if it cannot be started. 0 for one that was ended, as its answer is too long.
        """
        woken, waker = self._pipe()
        os.set_blocking(waker, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # for the descriptor below to be written to
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        try:
            theirs = [self._in(self._feed), self._out(self._hear), self._out(self._pass_on)]
            theirs.append(self._out(self._note))
            self._listen(woken, self._look, select.POLLIN)
            self._start(path, words, environment, theirs)
            while self._status is None and not self.is_too_long:
                for descriptor, _ in self._poll.poll():
                    self._hears[descriptor](descriptor)
            if self._status is None:
                with contextlib.suppress(OSError):  # below ABI 6 a cell may signal itself alone
                    os.kill(self._pid, signal.SIGKILL)
                return 0
            self._hear_the_rest()
            return self._status
        finally:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in list(self._open):
                self._close(descriptor)

    def _start(
        self, path: str, words: list[str], environment: dict[str, str], theirs: list[int]
    ) -> None:
        # All other descriptors of a cell are closed by the kernel, as it becomes the program.
        actions = [(os.POSIX_SPAWN_DUP2, source, place) for place, source in enumerate(theirs)]
        # Python ignores these two, and a program would inherit that.
        ignored = [signal.SIGPIPE, signal.SIGXFSZ]
        self._pid = os.posix_spawn(
            path, words, environment, file_actions=actions, setsigdef=ignored
        )
        for descriptor in theirs:
            self._close(descriptor)

    # --- descriptors -----------------------------------------------------------------------

    def _pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        self._open.update(ends)
        return ends

    def _in(self, feed: Callable[[int], None]) -> int:
        """Make a pipe that is written to here; return the program's end."""
        theirs, ours = self._pipe()
        self._listen(ours, feed, select.POLLOUT)
        return theirs

    def _out(self, hear: Callable[[int], None]) -> int:
        """Make a pipe that is read here; return the program's end."""
        ours, theirs = self._pipe()
        self._listen(ours, hear, select.POLLIN)
        return theirs

    def _listen(self, descriptor: int, hear: Callable[[int], None], event: int) -> None:
        os.set_blocking(descriptor, False)
        self._hears[descriptor] = hear
        self._poll.register(descriptor, event)

    def _close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        if self._hears.pop(descriptor, None):
            self._poll.unregister(descriptor)
        os.close(descriptor)

    # --- what comes and goes ---------------------------------------------------------------

    def _look(self, woken: int) -> None:
        """Something has ended: perhaps the program."""
        os.read(woken, CHUNK)
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid:
            self._status = status

    def _feed(self, sink: int) -> None:
        try:
            sent = os.write(sink, self._given[:CHUNK])
        except BlockingIOError:
            return
        except OSError:
            sent = len(self._given)  # it reads no more, as it may
        self._given = self._given[sent:]
        if not self._given:
            self._close(sink)

    def _hear(self, source: int) -> None:
        self.answer += self._read(source)

    def _pass_on(self, source: int) -> None:
        data = self._read(source)
        self.errors = (self.errors + data)[-_TAIL:]
        write(data)

    def _note(self, source: int) -> None:
        data = self._read(source)
        *lines, self._line = (self._line + data).split(b"\n")
        if not data or len(self._line) > _LONGEST_LINE:
            lines.append(self._line)
            self._line = b""
        for line in lines:
            if line.strip():
                self._tell(line)

    def _tell(self, line: bytes) -> None:
        try:
            report = json.loads(line)
            fraction = float(report["fraction"])
            if math.isnan(fraction):
                raise ValueError  # noqa: TRY301 - told below, as everything else that is none
            self._on_progress(fraction, report.get("message", ""))
        except (
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        ):
            if not self._has_complained:
                write(f"{_NOT_PROGRESS}{line[:200].decode('utf-8', 'replace')}\n".encode())
            self._has_complained = True

    def _read(self, source: int) -> bytes:
        try:
            data = os.read(source, CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            self._close(source)
        return data

    def _hear_the_rest(self) -> None:
        """Hear what the program had written by its end; what else it has started may go on."""
        for source, hear in list(self._hears.items()):
            if hear in (self._look, self._feed):
                continue
            most = _size_of_a_pipe(source)
            while most > 0 and source in self._hears and _has_more(source):
                hear(source)
                most -= CHUNK
        if self._line.strip():
            self._tell(self._line)


def write(data: bytes) -> None:
    """Write to the call's output."""
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(_ERRORS, data) :]


def _has_more(source: int) -> bool:
    return bool(select.select([source], [], [], 0)[0])


def _size_of_a_pipe(source: int) -> int:
    try:
        return fcntl.fcntl(source, fcntl.F_GETPIPE_SZ)
    except (AttributeError, OSError):  # not on Linux, or not before Python 3.10
        return _MOST_IN_A_PIPE
