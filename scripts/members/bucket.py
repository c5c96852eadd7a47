"""A server that speaks S3 on the loopback: moto's, which keeps all in its memory."""

from __future__ import annotations

import os
import signal
import urllib.request
from pathlib import Path

from members.program import Program

# Any key will do there; these are nobody's.
KEYS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "not-for-any-log"}
_READY = r"Running on (http://127\.0\.0\.1:\d+)"


class BucketServer(Program):
    """One server, without a bucket at first."""

    def __init__(self, log: Path, python: str) -> None:
        """``python``: one that has moto."""
        super().__init__("moto's server", log, asked_by=signal.SIGKILL)  # it keeps nothing
        self._python = python
        self.address = ""

    def start(self) -> None:
        """Start it, and return when it answers."""
        command = [self._python, "-P", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        self.begin(command, _READY, environment={**os.environ, **KEYS})
        self.address = self.ready()[1]

    def make(self, bucket: str) -> str:
        """Make a bucket; return what ``blobs`` says of it."""
        make_bucket(self.address, bucket)
        return f"s3://{bucket}/jobs?endpoint={self.address}&region=us-east-1"


def make_bucket(address: str, name: str) -> None:
    """Make a bucket at a server."""
    request = urllib.request.Request(f"{address}/{name}", method="PUT")  # noqa: S310 - http
    with urllib.request.urlopen(request, timeout=120):  # noqa: S310 - same
        pass
