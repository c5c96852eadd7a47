"""What an attack could harm: files, listeners and a process, made for it and for nothing else.

All of it is open to any user of the host who is not confined.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from toolrunner.sandbox.spawn import LAUNCH

# Not the user's own temporary folder: the users of root's boxes could not get there either way.
_BASE = "/var/tmp"  # noqa: S108 - a folder of its own is made in it, by a name nobody can foresee
_TEXT = "theirs"
_VARIABLE = "SECRET_OF_THE_HOST"
_GONE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Surroundings:
    """``payload`` tells an attack where everything is; ``temporary`` is this process's TMPDIR."""

    folder: Path
    payload: dict[str, Any]
    listeners: tuple[socket.socket, ...]
    victim: psutil.Popen

    @property
    def temporary(self) -> Path:
        """Where scratch folders are made, as long as this lasts."""
        return self.folder / "temporary"

    @property
    def plugins(self) -> Path:
        """Where the copies of faults go."""
        return self.folder / "plugins"

    @property
    def _foreign(self) -> Path:
        return Path(self.payload["foreign"])

    def state(self) -> dict[str, object]:
        """Return all that no attack may change, by its name."""
        status = self._foreign.stat()
        return {
            "the text of a foreign file": self._foreign.read_text("utf-8"),
            "the mode of a foreign file": status.st_mode,
            "the owner of a foreign file": (status.st_uid, status.st_gid),
            "the times of a foreign file": (status.st_mtime_ns, status.st_ctime_ns),
            "the names in a foreign folder": sorted(os.listdir(self._foreign.parent)),  # noqa: PTH208 - names alone
            "its own file": sorted(p.read_bytes() for p in self.plugins.rglob("*.py")),
            "the priority of another process": self.victim.nice(),
            "the processors of another process": self.victim.cpu_affinity(),
        }

    def harm(self, before: dict[str, object]) -> list[str]:
        """Return what an attack has done to any of it since ``before``."""
        try:
            now = self.state()
        except (OSError, psutil.Error) as error:
            return [f"it took away what others need: {error}"]
        harm = [f"it changed {name}" for name, value in now.items() if value != before[name]]
        if self.victim.status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}:
            harm.append("it stopped or ended another process")
        harm += [f"it reached a {kind} socket" for kind in self._reached()]
        return harm

    def _reached(self) -> list[str]:
        reached = []
        for listener in self.listeners:
            with contextlib.suppress(BlockingIOError):
                if listener.type == socket.SOCK_DGRAM:
                    listener.recv(1)
                else:
                    listener.accept()[0].close()
                reached.append(f"{listener.family.name} {listener.type.name}")
        return reached

    def left(self) -> list[str]:
        """Return what is there when no box should be; processes get a little time to end."""
        names = sorted(path.name for path in self.temporary.iterdir())
        left = [f"it left {name} in the temporary folder" for name in names]
        _gone, alive = psutil.wait_procs(self.processes(), timeout=_GONE_SECONDS)
        return left + [f"it left process {process.pid}" for process in alive]

    def processes(self) -> list[psutil.Process]:
        """Return the live processes of boxes, younger than this, that are ours or nobody's.

        Those of another program's boxes have a parent that is none of our own ancestry.
        """
        own = psutil.Process()
        ancestry = {own.pid, *(parent.pid for parent in own.parents())}
        since = self.victim.create_time()
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if not _is_of_a_box(process) or process.create_time() < since:
                    continue
                strangers = (p for p in process.parents() if p.pid not in ancestry)
                if all(_is_of_a_box(parent) for parent in strangers):
                    found.append(process)
        return found

    def end_processes(self) -> None:
        """Kill what an attack has left."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()


def _is_of_a_box(process: psutil.Process) -> bool:
    """Tell whether a live process is our launcher, what was forked of it, or a fault's program."""
    if process.status() == psutil.STATUS_ZOMBIE:
        return False
    return LAUNCH in process.cmdline() or process.name() == "sleep"


@contextlib.contextmanager
def surroundings() -> Iterator[Surroundings]:
    """Make it all; take it all away in the end."""
    secret = secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        made = tempfile.TemporaryDirectory(
            dir=_BASE, prefix=_prefix(os.getpid()), ignore_cleanup_errors=True
        )
        folder = Path(stack.enter_context(made))
        for name, mode in (("theirs", 0o777), ("temporary", 0o755), ("plugins", 0o755)):
            (folder / name).mkdir()
            (folder / name).chmod(mode)
        folder.chmod(0o755)
        foreign = folder / "theirs/foreign"
        foreign.write_text(_TEXT, "utf-8")
        foreign.chmod(0o666)
        listeners, addresses = _listeners(stack, folder / "theirs", secret)
        victim = stack.enter_context(
            psutil.Popen(
                ["cat"],
                stdin=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C at the terminal is not an attack's doing
                env={"PATH": os.defpath, _VARIABLE: secret},
            )
        )
        stack.callback(victim.kill)
        stack.enter_context(_environment(secret, str(folder / "temporary")))
        parents = [p.pid for p in psutil.Process().parents() if p.pid > 1]
        payload = {
            **addresses,
            "foreign": str(foreign),
            "home": os.path.expanduser("~"),  # noqa: PTH111 - Path's raises for users without one
            "victim": victim.pid,
            "pids": [victim.pid, os.getpid(), *parents],
            # Backwards, so that an attack that finds the secret has not found its own payload.
            "secret": secret[::-1],
        }
        yield Surroundings(folder, payload, listeners, victim)


def clear_up_after(pid: int) -> None:
    """Take away the files of a process that an attack has ended before it could do so itself."""
    for folder in Path(_BASE).glob(f"{_prefix(pid)}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _prefix(pid: int) -> str:
    return f"attack-{pid}-"


def _listeners(
    stack: contextlib.ExitStack, folder: Path, secret: str
) -> tuple[tuple[socket.socket, ...], dict[str, object]]:
    """Listen on sockets of every kind; return them with their addresses."""
    kinds = (
        (socket.AF_INET, socket.SOCK_STREAM),
        (socket.AF_INET, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_STREAM),
        (socket.AF_UNIX, socket.SOCK_STREAM),
        (socket.AF_UNIX, socket.SOCK_DGRAM),
    )
    listeners = tuple(stack.enter_context(socket.socket(*kind)) for kind in kinds)
    tcp, udp, unix, abstract, datagram = listeners
    name = f"toolrunner-attack-{secret}"
    tcp.bind(("127.0.0.1", 0))
    udp.bind(("127.0.0.1", 0))
    unix.bind(str(folder / "unix"))
    abstract.bind(f"\0{name}")
    datagram.bind(str(folder / "datagram"))
    for path in (folder / "unix", folder / "datagram"):
        path.chmod(0o777)
    for listener in listeners:
        listener.setblocking(False)
        if listener.type == socket.SOCK_STREAM:
            listener.listen()
    addresses = {
        "tcp": tcp.getsockname()[1],
        "udp": udp.getsockname()[1],
        "unix": str(folder / "unix"),
        "abstract": name,
        "datagram": str(folder / "datagram"),
    }
    return listeners, addresses


@contextlib.contextmanager
def _environment(secret: str, temporary: str) -> Iterator[None]:
    """Have a secret in this process's environment, and its scratch folders in ``temporary``."""
    before = tempfile.tempdir
    os.environ[_VARIABLE] = secret
    tempfile.tempdir = temporary
    try:
        yield
    finally:
        tempfile.tempdir = before
        del os.environ[_VARIABLE]
