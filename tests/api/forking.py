"""Runs the command in forks of an interpreter that has imported it, started once for all tests.

Each run is a process of its own that ends as any program does; only the half second of imports is
not paid again. What Python reads when it starts (its own variables, the locale) is this program's.

    python -P forking.py SOCKET    until its standard input ends

A request is a JSON document with three descriptors for the standard streams; the answer is the exit
status.
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

REQUEST_CAP = 1 << 20


class Server:
    """The interpreter, from outside."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start it, with a socket in a folder of its own."""
        self._folder = tempfile.mkdtemp(prefix="forking-")
        self._path = f"{self._folder}/socket"
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, self._path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.read(1) == b"."  # it listens

    def run(
        self,
        arguments: list[str],
        environment: Mapping[str, str],
        cwd: Path,
        streams: tuple[int, int, int],
    ) -> int:
        """Run the command once; return its exit status, or a signal's number below 0."""
        request = {"arguments": arguments, "environment": environment, "cwd": str(cwd)}
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(self._path)
            socket.send_fds(connection, [json.dumps(request).encode()], streams)
            return int(connection.recv(16))

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
            _, status = os.waitpid(pid, 0)
            with contextlib.suppress(OSError):  # whoever asked has been interrupted
                connection.send(b"%d" % os.waitstatus_to_exitcode(status))
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

    for name in ("api.cli.app", "api.cli.views.attack", "api.attack.apart"):
        importlib.import_module(f"toolrunner.{name}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answered
    serve(sys.argv[1])
    sys.exit(main())
