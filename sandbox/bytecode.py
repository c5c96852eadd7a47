"""Compiled modules for boxes, where the interpreter's packages have none: made once, by the runner.

Boxes tell which sources they had to compile (``inside/bytecode.py``). They are not believed: of
what they name, only modules of the interpreter, its packages and the sandbox itself are compiled;
of a plugin's environment none, which has its own from its installation. Compiling runs nothing of
a source. One process of each interpreter does it, after everything else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import subprocess
import threading
import time
from pathlib import Path

from toolrunner.sandbox import forks, interpreter
from toolrunner.sandbox.interpreter import Interpreter
from toolrunner.sandbox.json_values import count_values
from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.shortage import NoThreadError, started
from toolrunner.sandbox.spawn import LAUNCH, compiler

_INSIDE = os.path.dirname(LAUNCH)
_MOST_LISTED = 5000  # by one box
_MOST_SOURCES = 20_000
_MOST_SOURCE_BYTES = 4 * MIB
_MOST_SECONDS = 30 * 86_400.0  # that the files of another interpreter are kept


class Bytecode:
    """The compiled modules of an interpreter. Thread-safe."""

    def __init__(self, parent: Path, python: Interpreter | None = None) -> None:
        """``parent``: the folder for those of all interpreters, made when it is needed.

        ``python``: by default the runner's own.
        """
        python = python or interpreter.own()
        self._parent = parent
        self._python = python.executable
        trusted = python.standard
        state = repr((python.executable, trusted)) if python.packages else python.state
        name = hashlib.sha256(state.encode("utf-8", "backslashreplace")).hexdigest()[:32]
        self.folder = str(parent / name)
        self._trusted = (f"{_INSIDE}/", *(f"{path}/" for path in trusted))
        self._begin()
        forks.in_each_child(self, Bytecode._let_go)

    def _let_go(self) -> None:
        if self._process is not None:
            self._process.returncode = 0  # nobody to wait for: it is the parent's child
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._waiting: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def want(self, listed: bytes) -> None:
        """Compile what a box lists, sometime, as far as it is trusted; each is tried once."""
        if count_values(listed) > _MOST_LISTED:
            return
        try:
            sources = json.loads(listed)
        except (ValueError, RecursionError):
            return
        if not isinstance(sources, list):
            return
        sources = [path for path in sources if isinstance(path, str)]
        with self._lock:
            new = {path for path in sources if self._is_trusted(path)} - self._known
            if not new or self._closed or len(self._known) + len(new) > _MOST_SOURCES:
                return
            self._known |= new
            self._waiting += sorted(new)
            if self._thread is None:
                with contextlib.suppress(NoThreadError):  # the next ones that are named start it
                    self._thread = started(self._work, "toolrunner-compile")

    def _is_trusted(self, path: object) -> bool:
        if (
            not isinstance(path, str)
            or not path.endswith(".py")
            or "\n" in path
            or not path.startswith(self._trusted)
        ):
            return False
        try:
            found = os.lstat(path)
        except (OSError, ValueError):
            return False
        is_source = stat.S_ISREG(found.st_mode) and found.st_size <= _MOST_SOURCE_BYTES
        return is_source and os.path.normpath(path) == path

    def _work(self) -> None:
        """Compile what waits, until nothing does."""
        with contextlib.suppress(OSError):
            self._prune()
        while True:
            with self._lock:
                waiting, self._waiting = self._waiting, []
                if not waiting or self._closed:
                    self._thread = None
                    return
                try:
                    self._process = process = compiler(self.folder, self._python)
                except OSError:
                    self._thread = None
                    return
            process.communicate("".join(f"{path}\n" for path in waiting).encode("utf-8", "ignore"))
            with self._lock:
                self._process = None

    def _prune(self) -> None:
        """Make the folder; remove those of interpreters, or of packages, that are gone."""
        own = Path(self.folder)
        own.mkdir(mode=0o755, parents=True, exist_ok=True)
        os.utime(own)
        for other in self._parent.iterdir():
            if time.time() - other.stat().st_mtime > _MOST_SECONDS:
                shutil.rmtree(other, ignore_errors=True)

    def close(self) -> None:
        """End the process and the thread; what is not compiled yet waits for another runner."""
        with self._lock:
            self._closed = True
            thread, process = self._thread, self._process
            if process is not None:
                process.kill()
        if thread is not None:
            thread.join()


class AllBytecode:
    """The compiled modules of all interpreters that boxes are run by. Thread-safe."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self.own = Bytecode(parent)
        self._begin()
        forks.in_each_child(self, AllBytecode._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._others: dict[tuple[str, ...], Bytecode] = {}

    def of(self, python: Interpreter | None) -> Bytecode:
        """Return those of an interpreter; ``None``: of the runner's own."""
        if python is None:
            return self.own
        key = (python.executable, *python.standard)
        with self._lock:
            if key not in self._others:
                self._others[key] = Bytecode(self._parent, python)
            return self._others[key]

    def close(self) -> None:
        """End all that compiles."""
        with self._lock:
            others = [*self._others.values()]
        for one in (self.own, *others):
            one.close()
