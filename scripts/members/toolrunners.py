"""Servers and workers of toolrunner: each a program with a state folder of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from members.program import Program

ROOT = Path(__file__).resolve().parent.parent.parent
_SERVES = r"listening on (http://127\.0\.0\.1:\d+)"
_WORKS = r"probes and figures at (http://127\.0\.0\.1:\d+)"


class Toolrunner(Program):
    """A server or a worker, which is reached on the loopback alone.

    ``address`` is a server's, or that of a worker's probes and figures; a start may change it.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        command: Sequence[str],
        sign: str,
        environment: Mapping[str, str],
    ) -> None:
        """Its state and its log are in ``folder``. ``sign``: what it says when it is ready."""
        super().__init__(name, folder / f"{name}.log")
        self.state = folder / name
        self._command = [*command, "--state", str(self.state)]
        self._sign = sign
        self._environment = {**environment, "PYTHONPATH": str(ROOT)}
        self.address = ""

    def start(self) -> None:
        """Start it, and return when it is ready."""
        self.start_soon()
        self.wait_until_ready()

    def start_soon(self) -> None:
        """Start it."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        self.begin(self._command, self._sign, environment=self._environment)

    def wait_until_ready(self) -> None:
        """Wait until it is ready."""
        self.address = self.ready()[1]


def server(
    name: str, folder: Path, command: Sequence[str], environment: Mapping[str, str], *options: str
) -> Toolrunner:
    """Return ``toolrunner serve``, which leaves jobs to workers. ``command`` is toolrunner's."""
    words = [*command, "serve", "--host", "127.0.0.1", "--workers", "1", *options]
    return Toolrunner(name, folder, words, _SERVES, {**environment, "TOOLRUNNER_JOB_THREADS": "0"})


def worker(
    name: str, folder: Path, command: Sequence[str], environment: Mapping[str, str], *options: str
) -> Toolrunner:
    """Return ``toolrunner worker``."""
    words = [*command, "worker", "--health", "127.0.0.1:0", *options]
    return Toolrunner(name, folder, words, _WORKS, environment)
