"""Starts box processes from one thread that lives as long as its owner.

A box asks the kernel to kill it when its parent ends, and to the kernel the parent is the thread
that made it: one made by a caller's thread would die with that thread.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LAUNCH = str(Path(__file__).with_name("inside") / "launch.py")

# One thread for numeric libraries: more would start at import, and count against the call.
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}


class Spawner:
    """Runs ``launch.py`` in its own interpreter, on behalf of any thread."""

    def __init__(self, python: str = "") -> None:
        self._python = python or sys.executable
        self._lock = threading.Lock()
        self._owner = 0
        self._thread: ThreadPoolExecutor | None = None

    def spawn(self, *arguments: str, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
        """Start ``python -I -S launch.py ARGUMENT...`` with a clean environment.

        Output and errors come on pipes. Raises ``OSError`` when the process cannot be made.
        """
        return self._executor().submit(self._start, arguments, pass_fds).result()

    def _start(
        self, arguments: tuple[str, ...], pass_fds: tuple[int, ...]
    ) -> subprocess.Popen[bytes]:
        command = [self._python, "-I", "-S", "-X", "utf8", LAUNCH, *arguments]
        return subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if arguments[0] == "probe" else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            cwd="/",
            pass_fds=pass_fds,
        )

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            # A fork of the runner's process has the object but not the thread.
            if self._thread is None or self._owner != os.getpid():
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="toolrunner-spawn")
                self._owner = os.getpid()
            return self._thread

    def close(self) -> None:
        """End the thread. Boxes that still run end with it."""
        with self._lock:
            if self._thread is not None and self._owner == os.getpid():
                self._thread.shutdown()
            self._thread = None
