"""Starts box processes from one thread that lives as long as its owner.

A box asks the kernel to kill it when its parent ends, and to the kernel the parent is the thread
that made it: one made by a caller's thread would die with that thread. One launcher is started
ahead of its call, since an interpreter's start is the longest part of a cold one; it knows
nothing of any plugin until it is used, and is used once. Of each other interpreter that plugins'
environments are for, one is started ahead once there has been a call.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from toolrunner.sandbox import forks
from toolrunner.sandbox.quiet_environment import environment
from toolrunner.sandbox.shortage import submit

LAUNCH = str(Path(__file__).with_name("inside") / "launch.py")
_COMPILING = str(Path(__file__).with_name("inside") / "compiling.py")

# One message stays one message, where the system has such a thing.
MESSAGE_SOCKET = socket.SOCK_SEQPACKET if os.uname().sysname == "Linux" else socket.SOCK_STREAM

_LOG = logging.getLogger("toolrunner.sandbox")
_ANSWER_SECONDS = 20
_MOST_OTHERS = 4  # interpreters beside the runner's own that a launcher waits of


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Launcher:
    """A started ``launch.py`` and our end of its control channel."""

    process: subprocess.Popen[bytes]
    control: socket.socket

    def __post_init__(self) -> None:
        forks.in_each_child(self, Launcher._let_go)

    def _let_go(self) -> None:
        self.control.close()
        if self.process.stderr is not None:
            self.process.stderr.close()
        # Nobody to wait for: its number may be that of a child of this process.
        self.process.returncode = 0

    def discard(self) -> None:
        """End a launcher that no box has been made of."""
        self.control.close()
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()


@dataclass(frozen=True, slots=True)
class Kind:
    """What a launcher is started with; ``bytecode``: a folder with compiled modules, or ""."""

    python: str
    bytecode: str


def become_plain(python: str, folder: str) -> NoReturn:
    """Become an interpreter that runs what ``plain`` has put into a folder, without a box."""
    os.execv(python, [python, "-P", LAUNCH, "plain", folder])  # noqa: S606 - no shell is wanted


def compiler(folder: str, python: str) -> subprocess.Popen[bytes]:
    """Start what compiles sources into ``folder``; it is told them on its standard input."""
    with forks.held_off(), open(os.devnull, "r+b", buffering=0) as null:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
            [python, "-I", "-S", "-X", "utf8", _COMPILING, folder],
            stdin=subprocess.PIPE,
            stdout=null,
            stderr=null,
            bufsize=0,
            env={},
            cwd="/",
        )


def answer(python: str, question: str) -> bytes:
    """Return what an interpreter of the host prints that runs ``question``, without any packages.

    ``OSError`` and ``subprocess.SubprocessError`` if it does not answer; what it says instead is in
    ``CalledProcessError.stderr``.
    """
    with forks.held_off(), open(os.devnull, "r+b", buffering=0) as null:
        process = subprocess.Popen(  # noqa: S603 - an interpreter of the host's
            [python, "-I", "-S", "-X", "utf8", "-c", question],
            stdin=null,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={},
            cwd="/",
        )
    with process:
        try:
            said, errors = process.communicate(timeout=_ANSWER_SECONDS)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, python, said, errors)
    return said


class Spawner:
    """Runs ``launch.py`` in a new interpreter, on behalf of any thread."""

    def __init__(self, python: str = "", *, bytecode: str = "", threads_per_call: int = 1) -> None:
        """``bytecode``: a folder in which boxes look for compiled modules, or ""."""
        self._own = Kind(python or sys.executable, bytecode)
        self._environment = environment(threads_per_call)
        self._closed = False
        self._begin()
        forks.in_each_child(self, Spawner._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._spares: dict[Kind, Launcher] = {}
        self._used: list[Kind] = []  # other than our own, the latest last

    def take(self, kind: Kind | None = None) -> Launcher:
        """Return a launcher that waits for its profile; start one for the next call.

        ``kind``: by default it is of the runner's own. Raises ``OSError`` when no process can be
        made.
        """
        kind = kind or self._own
        with self._lock:
            spare = self._spares.pop(kind, None)
        try:
            if spare is not None and spare.process.poll() is None:
                return spare
            if spare is not None:
                spare.discard()
            return submit(self._executor(), partial(self._launch, kind)).result()
        finally:
            with contextlib.suppress(OSError):
                self.prepare(kind)

    def prepare(self, kind: Kind | None = None) -> None:
        """Start a launcher for a call to come, without waiting for it."""
        submit(self._executor(), partial(self._refill, kind or self._own))

    def run_probe(self, uid: str) -> subprocess.Popen[bytes]:
        """Start the trials of all layers; output and errors come on pipes."""
        return submit(self._executor(), partial(self._probe, uid)).result()

    def _launch(self, kind: Kind) -> Launcher:
        with forks.held_off():
            ours, theirs = socket.socketpair(socket.AF_UNIX, MESSAGE_SOCKET)
            with theirs:
                try:
                    arguments = (str(theirs.fileno()), kind.bytecode)
                    process = self._start(kind.python, arguments, (theirs.fileno(),))
                except BaseException:
                    ours.close()
                    raise
            return Launcher(process, ours)

    def _refill(self, kind: Kind) -> None:
        with self._lock:
            if kind in self._spares or self._closed:
                return
        try:
            launcher = self._launch(kind)
        except OSError as error:
            _LOG.debug("no launcher could be started ahead: %s", error)
            return
        for spare in self._keep(kind, launcher):
            spare.discard()

    def _keep(self, kind: Kind, launcher: Launcher) -> list[Launcher]:
        """Keep a launcher for the next call; return those that are one too many."""
        with self._lock:
            if self._closed:
                return [launcher]
            self._spares[kind] = launcher
            if kind == self._own:
                return []
            self._used = [*(other for other in self._used if other != kind), kind]
            old, self._used = self._used[:-_MOST_OTHERS], self._used[-_MOST_OTHERS:]
            return [self._spares.pop(other) for other in old if other in self._spares]

    def _probe(self, uid: str) -> subprocess.Popen[bytes]:
        with forks.held_off():
            # A pipe of ours: Popen leaves its first one open when there is no room for a second.
            read, write = os.pipe()
            source = open(read, "rb", buffering=0)  # noqa: SIM115 - the process's from here on
            try:
                process = self._start(self._own.python, ("probe", uid), (), stdout=write)
            except BaseException:
                source.close()
                raise
            finally:
                os.close(write)
            process.stdout = source
            return process

    def _start(
        self,
        python: str,
        arguments: tuple[str, ...],
        pass_fds: tuple[int, ...],
        stdout: int | None = None,
    ) -> subprocess.Popen[bytes]:
        command = [python, "-I", "-S", "-X", "utf8", LAUNCH, *arguments]
        # Not subprocess.DEVNULL, which stays open when there are no descriptors left for a pipe.
        with forks.held_off(), open(os.devnull, "r+b", buffering=0) as null:
            return subprocess.Popen(  # noqa: S603 - an interpreter of the host's and our own file
                command,
                stdin=null,
                stdout=null if stdout is None else stdout,
                stderr=subprocess.PIPE,
                bufsize=0,  # a buffer has a lock, which a fork would copy
                env=self._environment,
                cwd="/",
                pass_fds=pass_fds,
            )

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._closed:
                raise OSError(errno.ESHUTDOWN, "the sandbox has been closed")
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="toolrunner-spawn")
            return self._thread

    def close(self) -> None:
        """End the thread. Boxes that still run end with it."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
            spares, self._spares = [*self._spares.values()], {}
        if thread is not None:
            thread.shutdown()
        for spare in spares:
            with contextlib.suppress(OSError):
                spare.discard()
