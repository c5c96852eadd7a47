"""Buckets on this host: moto's server in a process of its own, and a door before it that closes."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest

SECRET = "not-for-any-log"
KEYS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": SECRET}
_BYTES = 1 << 16


@contextmanager
def bucket_server() -> Iterator[str]:
    """Run a server that speaks S3, on the loopback alone; yield its address."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        env={**os.environ, **KEYS},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr:
        try:
            for line in process.stderr:
                if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", line):
                    break
            else:
                message = "moto's server has ended"
                raise OSError(message)
            # It writes a line for each request, which somebody has to take.
            reader = threading.Thread(target=_read_all, args=(process,), daemon=True)
            reader.start()
            yield found[1]
        finally:
            process.kill()
            process.wait()
    reader.join()


def _read_all(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    with suppress(OSError, ValueError):
        while process.stderr.read(_BYTES):
            pass


def make_bucket(address: str, name: str) -> None:
    """Make a bucket."""
    request = urllib.request.Request(f"{address}/{name}", method="PUT")
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert answer.status == 200


class Door:
    """A port that leads to a server, until it is closed: nobody is there then."""

    def __init__(self, address: str) -> None:
        self._target = int(address.rpartition(":")[2])
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self._port = free.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.address = f"http://127.0.0.1:{self._port}"

    def open(self) -> None:
        """Let everybody in."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._start(self._accept, self._listener)

    def close(self) -> None:
        """Send everybody away, also who is inside."""
        if self._listener is None:
            return
        # Who waits in accept() is woken by this, and not by close().
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in (self._listener, *self._open):
            one.close()
        self._open, self._threads, self._listener = [], [], None

    def _start(self, target: object, *arguments: socket.socket) -> None:
        assert callable(target)
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._open += [near, far]
                self._start(self._pass_on, near, far)
                self._start(self._pass_on, far, near)

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_BYTES):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="session")
def s3_address() -> str:
    """The address of a server that speaks S3; each test has buckets of its own there."""
    from tests.shared_servers import place_of  # which runs what is above

    return place_of("s3")


@pytest.fixture
def s3_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a key in the environment, and nothing of this machine's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket(s3_address: str, s3_keys: None) -> str:  # noqa: ARG001 - it is there for its effect
    """What ``blobs`` says of a bucket of this test's own."""
    name = f"test-{uuid.uuid4().hex}"
    make_bucket(s3_address, name)
    return f"s3://{name}/some/where?endpoint={s3_address}&region=us-east-1"
