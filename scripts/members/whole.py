"""PostgreSQL, a place for blobs, servers and workers: a cluster on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from members.bucket import KEYS, BucketServer
from members.postgres import Postgres, programs
from members.program import ProgramError
from members.toolrunners import ROOT, Toolrunner, server, worker

_BUCKET = "toolrunner"
# Longer than ``drain_seconds``, in which servers and workers let their jobs end.
_END_SECONDS = 45


@dataclass(frozen=True)
class Plan:
    """What a cluster has.

    ``keys``: roles by the names of the callers that get one. ``python``: what runs toolrunner.
    ``settings``: variables of all of it.
    """

    servers: int = 2
    workers: int = 3
    s3: bool = False
    plugins: tuple[str, ...] = ()
    first_port: int = 0
    keys: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable
    settings: Mapping[str, str] = field(default_factory=dict)


class Cluster:
    """All programs of one, in a folder. ``start`` it, and ``stop`` it whatever has happened."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        """``folder`` is there, and this cluster's alone. Raises ProgramError without PostgreSQL."""
        self.folder = folder
        self._plan = plan
        self._toolrunner = [plan.python, "-P", "-m", "toolrunner"]
        self.postgres = Postgres(folder / "postgres", programs())
        self.bucket = BucketServer(folder / "bucket.log", plan.python) if plan.s3 else None
        self.blobs = (folder / "blobs").as_uri()
        self.tokens: dict[str, str] = {}
        self.servers: list[Toolrunner] = []
        self.workers: list[Toolrunner] = []

    @property
    def members(self) -> list[Toolrunner]:
        """The servers and the workers."""
        return [*self.servers, *self.workers]

    def start(self, say: Callable[[str], None] = lambda _: None) -> None:
        """Start all of it; ``say`` is told what comes next. Raises ProgramError."""
        say("PostgreSQL")
        self.postgres.make()
        self.postgres.start()
        if self.bucket is not None:
            say("a bucket: moto's server")
            self.bucket.start()
            self.blobs = self.bucket.make(_BUCKET)
        say("its tables: toolrunner migrate")
        self.run("migrate")
        self._make_members()
        self._make_keys()
        for member in self.members:
            say(member.name)
            member.start_soon()
        for member in self.members:
            member.wait_until_ready()

    def _make_members(self) -> None:
        plan, environment = self._plan, self.environment()
        plugins = [word for path in plan.plugins for word in ("--plugins", path)]
        keys = ["--keys"] if plan.keys else []
        for number in range(plan.servers):
            port = ["--port", str(plan.first_port and plan.first_port + number)]
            name = f"server-{number + 1}"
            self.servers.append(
                server(name, self.folder, self._toolrunner, environment, *port, *keys, *plugins)
            )
        for number in range(plan.workers):
            name = f"worker-{number + 1}"
            self.workers.append(worker(name, self.folder, self._toolrunner, environment, *plugins))

    def _make_keys(self) -> None:
        for name, role in self._plan.keys.items():
            made = json.loads(self.run("keys", "create", name, "--role", role, "--json"))
            self.tokens[name] = made["token"]

    def environment(self) -> dict[str, str]:
        """Return the variables of every member."""
        return {
            **self._plan.settings,
            "TOOLRUNNER_JOBS": self.postgres.url(),
            "TOOLRUNNER_BLOBS": self.blobs,
            **(KEYS if self.bucket is not None else {}),
        }

    def run(self, *arguments: str) -> str:
        """Run a command of toolrunner as a member would; return what it prints.

        Raises ProgramError if it fails.
        """
        done = subprocess.run(
            [*self._toolrunner, *arguments],
            env={
                **self.environment(),
                "PYTHONPATH": str(ROOT),
                "TOOLRUNNER_STATE": str(self.folder / "operator"),
            },
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            message = f"toolrunner {' '.join(arguments)} has failed:\n{done.stderr}"
            raise ProgramError(message)
        return done.stdout

    def stop(self) -> dict[str, int]:
        """End all of it, the database last; return the exit status of each member."""
        try:
            statuses = _end(self.members)
        finally:
            if self.bucket is not None:
                self.bucket.ask_to_end()
                self.bucket.wait()
            self.postgres.stop()
        return statuses


def _end(members: Sequence[Toolrunner]) -> dict[str, int]:
    """Let them end all at once; kill what takes too long, or a second Ctrl-C finds."""
    for member in members:
        member.ask_to_end()
    try:
        for member in members:
            with suppress(subprocess.TimeoutExpired):
                member.wait(_END_SECONDS)
    finally:
        for member in members:  # their boxes end with them
            member.kill_all()
    return {member.name: member.wait() for member in members}
