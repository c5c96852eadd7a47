"""A real server on a port of its own, met by its log."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.api.conftest import Start, command_server
from tests.api.forking import Forked
from tests.sandbox.boxes import has_ended

SECONDS = 120.0


class Server:
    """One ``toolrunner serve`` or ``worker``: what it wrote, where it listens, its processes."""

    def __init__(self, process: subprocess.Popen[bytes] | Forked) -> None:
        self.process = process
        self.log = ""
        self._searched = 0
        self.known: dict[int, psutil.Process] = {}
        self._drain: threading.Thread | None = None

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the next match in the log, beyond those that were returned before."""
        assert self.process.stderr is not None
        deadline = time.monotonic() + SECONDS
        while True:
            if found := re.compile(pattern).search(self.log, self._searched):
                self._searched = found.end()
                return found
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stderr], [], [], max(0, left))
            data = os.read(self.process.stderr.fileno(), 65536) if ready else b""
            assert data, f"no {pattern!r} in the log:\n{self.log}"
            self.log += data.decode()

    def ready(self) -> str:
        """Wait until all workers accept, and return the address."""
        return self.wait_for(r"listening on (http://[0-9.]+:\d+)")[1]

    def takes_jobs(self) -> None:
        """Wait until all processes of a worker take jobs."""
        self.wait_for("taking jobs of ")

    def workers(self) -> list[int]:
        """Return the processes of the workers that have said they are ready, and live."""
        said = re.findall(r"worker \d+ \(process (\d+)\) is ready", self.log)
        return [pid for pid in map(int, said) if psutil.pid_exists(pid)]

    def drain_log(self) -> None:
        """Read the log from now on without looking at it, as who starts a server has to."""
        self._drain = threading.Thread(target=self._read_all, daemon=True)
        self._drain.start()

    def _read_all(self) -> None:
        assert self.process.stderr is not None
        with suppress(OSError, ValueError):
            while data := os.read(self.process.stderr.fileno(), 65536):
                self.log += data.decode("utf-8", "replace")

    def family(self) -> list[psutil.Process]:
        """Return all processes below the one that was started."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.known.update({process.pid: process for process in family})
        return family

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, read the log to its end, and return the exit status."""
        self.process.send_signal(number)
        return self.finish()

    def finish(self) -> int:
        """Read the log to its end, and return the exit status."""
        if self._drain is None:
            self._read_all()
        else:
            self._drain.join(SECONDS)
        return self.process.wait(SECONDS)

    def close(self) -> None:
        """Give up what is held of it, once it has ended."""
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def survivors(self) -> list[psutil.Process]:
        """Return which of the processes seen before are left once they have had time to end."""
        _, alive = psutil.wait_procs(list(self.known.values()), timeout=SECONDS)
        return [process for process in alive if not has_ended(process)]


Serve = Callable[..., Server]


@pytest.fixture
def serve(environment: dict[str, str], tmp_path: Path) -> Iterator[Serve]:
    """Return a function that starts a server on a free port; everything of it is ended after.

    A fork of an interpreter that has imported it, unless ``by`` says what starts it.
    """
    yield from starting(environment, tmp_path, "serve", "--port", "0")


@pytest.fixture
def work(environment: dict[str, str], tmp_path: Path) -> Iterator[Serve]:
    """Return a function that starts a worker, as ``serve`` does a server."""
    yield from starting(environment, tmp_path, "worker")


def starting(
    environment: dict[str, str], tmp_path: Path, command: str, *options: str
) -> Iterator[Serve]:
    """Yield what starts servers or workers with their state below ``tmp_path``; end all after."""
    servers: list[Server] = []

    def run(*arguments: str | Path, by: Start | None = None, **variables: str) -> Server:
        words = [command, "--state", tmp_path / "state", *options, *arguments]
        process: subprocess.Popen[bytes] | Forked
        if by is not None:
            process = by(*words, stderr=subprocess.PIPE, variables=variables)
        else:
            process = _forked([*map(str, words)], {**environment, **variables}, tmp_path)
        servers.append(Server(process))
        return servers[-1]

    yield run
    for server in servers:
        with suppress(psutil.NoSuchProcess):
            server.family()
        server.process.kill()
        for process in server.known.values():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        server.close()


def _forked(words: list[str], environment: dict[str, str], cwd: Path) -> Forked:
    reader, writer = os.pipe()
    try:
        with open(os.devnull, "rb") as nothing:
            streams = (nothing.fileno(), 1, writer)
            return command_server().start(words, environment, cwd, streams, os.fdopen(reader, "rb"))
    finally:
        os.close(writer)
