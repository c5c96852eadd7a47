"""Servers that all processes with tests share, as each takes seconds to start.

Each is held by a process of its own, which is started before those with tests are forked, and ends
when its standard input does: with whoever has started it.

    python -m tests.shared_servers postgres|s3    prints what leads there, on one line
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# By the fixture that leads to a server.
BY_FIXTURE = {"database": "postgres", "s3_address": "s3"}


_STARTED: dict[str, subprocess.Popen[str]] = {}


def _start(name: str) -> subprocess.Popen[str]:
    if name in _STARTED:
        return _STARTED[name]
    _STARTED[name] = subprocess.Popen(
        [sys.executable, "-m", "tests.shared_servers", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    return _STARTED[name]


@functools.cache
def place_of(name: str) -> str:
    """Return what leads to a server: PostgreSQL's folder, or the address of what speaks S3.

    "" if it could not be started, as where PostgreSQL is not installed.
    """
    stdout = _start(name).stdout
    assert stdout is not None
    return stdout.readline().strip()


def start(fixtures: set[str]) -> None:
    """Start what tests with these fixtures need, all at once."""
    names = [name for fixture, name in BY_FIXTURE.items() if fixture in fixtures]
    for name in names:
        _start(name)
    for name in names:
        place_of(name)


def end() -> None:
    """End what has been started here."""
    for process in _STARTED.values():
        process.communicate()


def _serve(name: str) -> None:
    """Run a server until the standard input ends; print what leads there."""
    if name == "postgres":
        from tests.postgres import running

        with running() as server:
            server.make_template()
            print(server.folder, flush=True)
            sys.stdin.read()
    else:
        from tests.buckets import bucket_server

        with bucket_server() as address:
            print(address, flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "scripts"))  # what starts such servers is there
    with contextlib.suppress(pytest.skip.Exception):  # which the tests will meet, and say
        _serve(sys.argv[1])
