"""Runs the command in forks of an interpreter that has imported it, started once for all tests.

Each run is a process of its own that ends as any program does; only the half second of imports is
not paid again. What Python reads when it starts (its own variables, the locale) is this program's.

    python -P forking.py SOCKET    until its standard input ends

A request is a JSON document with three descriptors for the standard streams; the answers are the
process, and then its exit status and the seconds that it has worked.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from tests import spent

REQUEST_CAP = 1 << 20
# What any command imports, and what those import that take longest.
PRELOADED = (
    "api.cli.app",
    "api.cli.views.attack",
    "api.attack.apart",
    "api.serve.program",
    "api.http.app",
)


class Forked:
    """A run of the command, with what tests use of ``subprocess.Popen``."""

    def __init__(self, connection: socket.socket, stderr: BinaryIO | None) -> None:
        """``connection`` tells the process, and then how it has ended."""
        self._connection = connection
        self.stdout = None
        self.stderr = stderr
        self.returncode: int | None = None
        self.pid = int(connection.recv(16))

    def poll(self) -> int | None:
        """Return the exit status, or a signal's number below 0; ``None`` while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended, and return how; raises TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("toolrunner", timeout or 0)
            status, seconds = self._connection.recv(64).split()
            self.returncode = int(status)
            spent.add(float(seconds))
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class Server:
    """The interpreter, from outside."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start it, with a socket in a folder of its own."""
        self._folder = tempfile.mkdtemp(prefix="forking-")
        self._path = f"{self._folder}/socket"
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, self._path],
            stdin=subprocess.PIPE,
            # Pipes: what Python has found out, that none can be sought in, is true of all streams.
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.read(1) == b"."  # it listens

    def start(
        self,
        arguments: list[str],
        environment: Mapping[str, str],
        cwd: Path,
        streams: tuple[int, int, int],
        stderr: BinaryIO | None = None,
    ) -> Forked:
        """Start the command; ``stderr``: where a test reads what it says on that stream."""
        request = {"arguments": arguments, "environment": environment, "cwd": str(cwd)}
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(self._path)
        socket.send_fds(connection, [json.dumps(request).encode()], streams)
        return Forked(connection, stderr)

    def close(self) -> None:
        """End it."""
        self._process.communicate()
        shutil.rmtree(self._folder)


def serve(path: str) -> None:
    """Answer requests until standard input ends; return in a child that is to run the command."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(64)
        os.write(1, b".")
        poll = select.poll()
        for watched in (0, listener.fileno()):
            poll.register(watched, select.POLLIN)
        while True:
            if any(descriptor == 0 for descriptor, _ in poll.poll()):
                sys.exit()
            connection, _ = listener.accept()
            if os.fork() == 0:
                break
            connection.close()
    with connection:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the command's own children are waited for
        pid = os.fork()
        if pid:
            with contextlib.suppress(OSError):  # whoever asked has been interrupted
                connection.send(b"%d" % pid)
            _, status = os.waitpid(pid, 0)
            with contextlib.suppress(OSError):  # the same
                seconds = spent.children_worked_seconds()
                connection.send(b"%d %f" % (os.waitstatus_to_exitcode(status), seconds))
            os._exit(0)
        data, descriptors, _, _ = socket.recv_fds(connection, REQUEST_CAP, 3)
    request = json.loads(data)
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[1:] = request["arguments"]


if __name__ == "__main__":
    from toolrunner.api.cli.main import main

    for name in PRELOADED:
        importlib.import_module(f"toolrunner.{name}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answered
    serve(sys.argv[1])
    sys.exit(main())
