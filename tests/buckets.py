"""Buckets on this host: moto's server in a process of its own, and a door before it that closes."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from members.bucket import KEYS, BucketServer, make_bucket

__all__ = ["KEYS", "bucket", "make_bucket", "s3_address", "s3_keys"]

SECRET = KEYS["AWS_SECRET_ACCESS_KEY"]
_BYTES = 1 << 16


@contextmanager
def bucket_server() -> Iterator[str]:
    """Run a server that speaks S3, on the loopback alone; yield its address."""
    with tempfile.TemporaryDirectory(prefix="buckets-") as folder:
        server = BucketServer(Path(folder) / "log", sys.executable)
        try:
            server.start()
            yield server.address
        finally:
            server.ask_to_end()
            server.wait()


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
