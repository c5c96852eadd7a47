"""The real command, run as a subprocess on real plugins."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import toolrunner

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


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which no setting of this machine's counts."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TOOLRUNNER_", "XDG_")) and name not in {"COLUMNS", "FORCE_COLOR"}
    }
    return {
        **kept,
        "PYTHONPATH": str(Path(toolrunner.__file__).parents[1]),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "TERM": "xterm",
    }


@pytest.fixture
def cli(tmp_path: Path, environment: dict[str, str]) -> Cli:
    """Return a function that runs the command in ``tmp_path`` and checks that no traceback shows.

    ``cli("run", "text-stats", stdin=b"", **environment_variables)``.
    """

    def run(*arguments: str | Path, stdin: bytes = b"", **variables: str) -> Finished:
        ended = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            env={**environment, **variables},
            cwd=tmp_path,
            check=False,
        )
        finished = Finished(ended.returncode, ended.stdout.decode(), ended.stderr.decode())
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
        self.text += data.decode("utf-8", "replace")
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
