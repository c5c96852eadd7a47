"""Starts box processes from one thread that lives as long as its owner.

A box asks the kernel to kill it when its parent ends, and to the kernel the parent is the thread
that made it: one made by a caller's thread would die with that thread. One launcher is started
ahead of its call, since an interpreter's start is the longest part of a cold one; it knows
nothing of any plugin until it is used, and is used once.
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
from pathlib import Path

from toolrunner.sandbox import forks
from toolrunner.sandbox.quiet_environment import environment

LAUNCH = str(Path(__file__).with_name("inside") / "launch.py")
_COMPILING = str(Path(__file__).with_name("inside") / "compiling.py")

# One message stays one message, where the system has such a thing.
MESSAGE_SOCKET = socket.SOCK_SEQPACKET if os.uname().sysname == "Linux" else socket.SOCK_STREAM

_LOG = logging.getLogger("toolrunner.sandbox")


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


def compiler(folder: str) -> subprocess.Popen[bytes]:
    """Start what compiles sources into ``folder``; it is told them on its standard input."""
    with forks.held_off(), open(os.devnull, "r+b", buffering=0) as null:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
            [sys.executable, "-I", "-S", "-X", "utf8", _COMPILING, folder],
            stdin=subprocess.PIPE,
            stdout=null,
            stderr=null,
            bufsize=0,
            env={},
            cwd="/",
        )


class Spawner:
    """Runs ``launch.py`` in its own interpreter, on behalf of any thread."""

    def __init__(self, python: str = "", *, bytecode: str = "", threads_per_call: int = 1) -> None:
        """``bytecode``: a folder in which boxes look for compiled modules, or ""."""
        self._python = python or sys.executable
        self._bytecode = bytecode
        self._environment = environment(threads_per_call)
        self._closed = False
        self._begin()
        forks.in_each_child(self, Spawner._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._spare: Launcher | None = None

    def take(self) -> Launcher:
        """Return a launcher that waits for its profile; start one for the next call.

        Raises ``OSError`` when no process can be made.
        """
        with self._lock:
            spare, self._spare = self._spare, None
        try:
            if spare is not None and spare.process.poll() is None:
                return spare
            if spare is not None:
                spare.discard()
            return self._executor().submit(self._launch).result()
        finally:
            with contextlib.suppress(OSError):
                self.prepare()

    def prepare(self) -> None:
        """Start a launcher for a call to come, without waiting for it."""
        self._executor().submit(self._refill)

    def run_probe(self, uid: str) -> subprocess.Popen[bytes]:
        """Start the trials of all layers; output and errors come on pipes."""
        return self._executor().submit(self._probe, uid).result()

    def _launch(self) -> Launcher:
        with forks.held_off():
            ours, theirs = socket.socketpair(socket.AF_UNIX, MESSAGE_SOCKET)
            with theirs:
                try:
                    arguments = (str(theirs.fileno()), self._bytecode)
                    process = self._start(arguments, (theirs.fileno(),))
                except BaseException:
                    ours.close()
                    raise
            return Launcher(process, ours)

    def _refill(self) -> None:
        with self._lock:
            if self._spare is not None or self._closed:
                return
        try:
            launcher = self._launch()
        except OSError as error:
            _LOG.debug("no launcher could be started ahead: %s", error)
            return
        if not self._keep(launcher):
            launcher.discard()

    def _keep(self, launcher: Launcher) -> bool:
        """Keep a launcher for the next call, unless there will be none."""
        with self._lock:
            if self._closed:
                return False
            self._spare = launcher
            return True

    def _probe(self, uid: str) -> subprocess.Popen[bytes]:
        with forks.held_off():
            # A pipe of ours: Popen leaves its first one open when there is no room for a second.
            read, write = os.pipe()
            source = open(read, "rb", buffering=0)  # noqa: SIM115 - the process's from here on
            try:
                process = self._start(("probe", uid), (), stdout=write)
            except BaseException:
                source.close()
                raise
            finally:
                os.close(write)
            process.stdout = source
            return process

    def _start(
        self, arguments: tuple[str, ...], pass_fds: tuple[int, ...], stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        command = [self._python, "-I", "-S", "-X", "utf8", LAUNCH, *arguments]
        # Not subprocess.DEVNULL, which stays open when there are no descriptors left for a pipe.
        with forks.held_off(), open(os.devnull, "r+b", buffering=0) as null:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
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
            spare, self._spare = self._spare, None
        if thread is not None:
            thread.shutdown()
        if spare is not None:
            with contextlib.suppress(OSError):
                spare.discard()
