"""One program from its start to its end. Its log has all that it says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

LAST_LINES = 20


class ProgramError(RuntimeError):
    """A program did not start, or is missing; the words say what to do."""


class Program:
    """One that runs, or does not. Its log goes on over all its starts.

    Started by a thread that outlives it: it is asked to end when that thread ends, and so with this
    process, however that does.
    """

    def __init__(self, name: str, log: Path, *, asked_by: int = signal.SIGTERM) -> None:
        """``asked_by``: the signal that asks it to end."""
        self.name = name
        self.log_file = log
        self._asked_by = asked_by
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread()
        self._told = threading.Event()
        self._found: re.Match[str] | None = None

    def begin(
        self,
        command: Sequence[str],
        sign: str,
        *,
        environment: Mapping[str, str] | None = None,
        user: Sequence[str] = (),
    ) -> None:
        """Start it; ``ready`` waits until it has said ``sign``.

        ``user``: the options of setpriv(1) that say whose it is, if not this process's user's.
        """
        asked = signal.Signals(self._asked_by).name.removeprefix("SIG")
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", asked, *user, "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env=environment,
            # Not its parent's, which a Ctrl-C would end before those who use it.
            process_group=0,
        )
        self._process, self._found, self._told = process, None, threading.Event()
        self._reader = threading.Thread(
            target=self._read, args=(process, re.compile(sign), self._told), daemon=True
        )
        self._reader.start()

    def ready(self) -> re.Match[str]:
        """Return what it said when it was ready. Raises ProgramError if it has ended before."""
        self._told.wait()
        if self._found is None:
            status = self.wait()
            last = "\n".join(self.log.splitlines()[-LAST_LINES:])
            message = f"{self.name} did not start (exit status {status}):\n{last}"
            raise ProgramError(message)
        return self._found

    def _read(
        self, process: subprocess.Popen[bytes], sign: re.Pattern[str], told: threading.Event
    ) -> None:
        """Write down what it says, to its end."""
        assert process.stderr is not None
        with process.stderr as stream, self.log_file.open("ab", buffering=0) as log:
            for line in stream:
                log.write(line)
                found = None if told.is_set() else sign.search(line.decode("utf-8", "replace"))
                if found is not None:
                    self._found = found
                    told.set()
        process.wait()
        told.set()

    @property
    def log(self) -> str:
        """All that it has said."""
        with self.log_file.open("rb") as log:
            return log.read().decode("utf-8", "replace")

    @property
    def pid(self) -> int:
        """Its process, 0 if none was started."""
        return 0 if self._process is None else self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def ask_to_end(self) -> None:
        """Ask it to end, if it runs."""
        self.send(self._asked_by)

    def send(self, number: int) -> None:
        """Send it a signal, if it runs: never to another process that has its number now."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill_all(self) -> None:
        """Kill it and its children, as a machine's end would: at once, and none is asked."""
        if self.runs:
            family = [*children(self.pid)]
            self.send(signal.SIGKILL)
            for child in family:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(child, signal.SIGKILL)
                os.close(child)
            self.wait()

    def wait(self, seconds: float | None = None) -> int:
        """Wait for its end; return its exit status. Raises subprocess.TimeoutExpired."""
        if self._process is None:
            return 0
        status = self._process.wait(seconds)
        self._reader.join(seconds)
        return status


def children(pid: int) -> Iterator[int]:
    """Yield descriptors of a process's children: those that its threads have started."""
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in file.read_text("ascii").split():
                with suppress(ProcessLookupError):
                    yield os.pidfd_open(int(child))
