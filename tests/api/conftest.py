"""The real command, run as a subprocess on real plugins."""

from __future__ import annotations

import codecs
import contextlib
import functools
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import toolrunner
from tests.api.forking import Server

COMMAND = (sys.executable, "-P", "-m", "toolrunner")
Start = Callable[..., subprocess.Popen[bytes]]


@dataclass(frozen=True, slots=True)
class Finished:
    """How one run of the command ended."""

    status: int
    out: str
    err: str

    @property
    def documents(self) -> list[Any]:
        """The JSON documents on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        """The error of the only call."""
        [document] = self.documents
        error: dict[str, Any] = document["error"]
        return error


Cli = Callable[..., Finished]


def common_environment() -> dict[str, str]:
    """Return an environment in which no setting of this machine's counts."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TOOLRUNNER_", "XDG_")) and name not in {"COLUMNS", "FORCE_COLOR"}
    }
    return {**kept, "PYTHONPATH": str(Path(toolrunner.__file__).parents[1]), "TERM": "xterm"}


@functools.cache
def command_server() -> Server:
    """Return what runs commands for this process and for those that are forked of it."""
    return Server(common_environment())


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start what runs commands, before the processes are forked that share it."""
    needed = {"cli", "serve", "site_maker"}
    if any(needed & {*getattr(item, "fixturenames", ())} for item in session.items):
        command_server()


def pytest_unconfigure() -> None:
    """End what runs commands."""
    if command_server.cache_info().currsize:
        command_server().close()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which no setting of this machine's counts, with folders of its own."""
    return {
        **common_environment(),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }


@pytest.fixture
def cli(tmp_path: Path, environment: dict[str, str]) -> Cli:
    """Return a function that runs the command in ``tmp_path`` and checks that no traceback shows.

    ``cli("run", "text-stats", stdin=b"", **environment_variables)``. An interpreter is started for
    it only where it has to read variables of its own.
    """

    def run(*arguments: str | Path, stdin: bytes = b"", **variables: str) -> Finished:
        words, given = [*map(str, arguments)], {**environment, **variables}
        with ExitStack() as stack:
            source, out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            source.write(stdin)
            source.seek(0)
            if any(name.startswith("PYTHON") for name in variables):
                status = subprocess.run(
                    [*COMMAND, *words],
                    stdin=source,
                    stdout=out,
                    stderr=err,
                    env=given,
                    cwd=tmp_path,
                    check=False,
                ).returncode
            else:
                streams = (source.fileno(), out.fileno(), err.fileno())
                status = command_server().start(words, given, tmp_path, streams).wait()
            out.seek(0)
            err.seek(0)
            finished = Finished(status, out.read().decode(), err.read().decode())
        if "--debug" not in arguments:
            assert "Traceback" not in finished.out + finished.err
        return finished

    return run


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Return a function that starts the command, to be met while it runs; all are ended after."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*arguments: str | Path, **streams: Any) -> subprocess.Popen[bytes]:
        # Whoever runs the tests in the background may have switched interrupts off for all.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            process = subprocess.Popen(
                [*COMMAND, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                env={**environment, **streams.pop("variables", {})},
                cwd=tmp_path,
                **streams,
            )
        finally:
            signal.signal(signal.SIGINT, before)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


class Screen:
    """A terminal as a program sees it, and what has appeared on it."""

    def __init__(self, master: int, slave: int) -> None:
        self._master = master
        self.slave = slave
        self.text = ""
        # What is read may end within a character.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def wait_for(self, words: str) -> None:
        """Read until ``words`` have appeared; fail when the terminal closes before."""
        while words not in self.text:
            assert self._read(), f"{words!r} never appeared in {self.text!r}"

    def read_to_end(self) -> str:
        """Return everything, once no program has the terminal any more."""
        while self._read():
            pass
        return self.text

    def close_slave(self) -> None:
        """Give up our own hold of the program's side."""
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody holds the other side
            return False
        self.text += self._decoder.decode(data)
        return bool(data)


@pytest.fixture
def screen() -> Iterator[Screen]:
    """A pseudo-terminal; give ``slave`` to a program, then ``close_slave``."""
    master, slave = pty.openpty()
    made = Screen(master, slave)
    yield made
    made.close_slave()
    with contextlib.suppress(OSError):
        os.close(master)


@pytest.fixture
def png(tmp_path: Path) -> Path:
    """A small sound PNG file."""
    path = tmp_path / "picture.png"
    Image.linear_gradient("L").convert("RGB").resize((32, 16)).save(path)
    return path
