"""The interpreters that boxes are run by, and where a plugin finds modules in each.

Most boxes have the runner's own, with its packages. A plugin with an environment has the one that
the environment was made for, with the environment's packages and none of the runner's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import json
import os
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolrunner.sandbox import spawn

_PREFIX_FOLDERS = ("bin", "lib", "lib64", "share", "ssl", "pyvenv.cfg")
_PACKAGES = ("site-packages", "dist-packages")
# Run by another interpreter, without its site-packages; ``site`` is imported and does nothing.
_QUESTION = """
import json, platform, site, sys, sysconfig
prefixes = sorted({sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix})
kind = "a debug build" if hasattr(sys, "gettotalrefcount") else ""
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    kind = "a free-threaded build"
if sys.implementation.name != "cpython":
    kind = sys.implementation.name
print(json.dumps({
    "version": sys.version,
    "number": list(sys.version_info[:2]),
    "kind": kind,
    "prefixes": prefixes,
    "standard": [path for path in sys.path if path],
    "packages": site.getsitepackages(prefixes),
}))
"""
_OLDEST = (3, 11)
_MOST_CHARACTERS = 200


class UnusableError(Exception):
    """An interpreter that no box can be run by; the text names it and says why."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What runs a box, and what a plugin in it can import.

    ``module_path``: its ``sys.path``. ``packages``: those of it that are an environment's.
    ``needs``: what it has to read. ``hides``: folders that it must not see, where they can be
    taken out of what it sees. ``state``: another text for another interpreter, or when packages
    have changed. ``keep``: a file that a box holds locked, so that nobody takes its packages away.
    """

    executable: str
    module_path: tuple[str, ...]
    needs: tuple[str, ...]
    state: str
    packages: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()
    keep: str = ""

    @property
    def standard(self) -> tuple[str, ...]:
        """Where it has modules that are no environment's."""
        return tuple(path for path in self.module_path if path not in self.packages)


def own() -> Interpreter:
    """Return the runner's own, with the packages that the runner itself has."""
    prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    path = own_module_path()
    needs = tuple(p for p in (*_inside(prefixes), *path) if os.path.exists(p))
    return Interpreter(sys.executable, path, needs, own_state())


def own_module_path() -> tuple[str, ...]:
    """Return the standard library and the installed packages of the runner."""
    standard = sysconfig.get_path("stdlib")
    wanted = (*_PACKAGES, "lib-dynload")
    return tuple(
        path
        for path in dict.fromkeys(sys.path)
        if os.path.isabs(path)
        and (path == standard or path.endswith(".zip") or Path(path).name in wanted)
    )


def own_state() -> str:
    """Return the ``state`` of the runner's own."""
    packages = []
    for folder in own_module_path():
        with contextlib.suppress(OSError):
            packages.append((folder, os.stat(folder).st_mtime_ns))
    return repr((sys.version, sys.prefix, packages))


def _inside(prefixes: set[str]) -> list[str]:
    return [str(Path(p) / name) for p in sorted(prefixes) for name in _PREFIX_FOLDERS]


def with_packages(
    executable: str,
    packages: tuple[str, ...],
    keep: str = "",
    identity: tuple[int, ...] = (),
) -> Interpreter:
    """Return an interpreter with the packages in some folders, and no others.

    ``identity``: another one when the packages have changed. Asks it what it is, once. Raises
    ``UnusableError``.
    """
    try:
        found = os.stat(executable)
    except OSError as error:
        message = f"{executable} is not there: {error.strerror}"
        raise UnusableError(message) from None
    state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    return _known(executable, state, packages, keep, identity)


@functools.lru_cache(maxsize=256)
def _known(
    executable: str,
    state: tuple[int, ...],
    packages: tuple[str, ...],
    keep: str,
    identity: tuple[int, ...],
) -> Interpreter:
    asked = _asked(executable, state)
    path = (*(p for p in asked.standard if os.path.isabs(p)), *packages)
    needs = tuple(p for p in (*_inside(set(asked.prefixes)), *path) if os.path.exists(p))
    hides = tuple(dict.fromkeys((*asked.packages, *_packages_of_the_runner())))
    named = repr((asked.version, executable, packages, identity))
    return Interpreter(executable, path, needs, named, packages, hides, keep)


def _packages_of_the_runner() -> list[str]:
    return [path for path in own_module_path() if Path(path).name in _PACKAGES]


@dataclass(frozen=True, slots=True)
class _Answer:
    version: str
    prefixes: tuple[str, ...]
    standard: tuple[str, ...]
    packages: tuple[str, ...]


@functools.lru_cache(maxsize=64)
def _asked(executable: str, _state: tuple[int, ...]) -> _Answer:
    """Return what an interpreter of the host says of itself; ``UnusableError``."""
    if os.path.realpath(sys.executable) != os.path.realpath(executable):
        _check_owner(executable)
    try:
        answer = json.loads(spawn.answer(executable, _QUESTION))
        kind = answer["kind"]
        number = tuple(answer["number"])
        known = _Answer(
            answer["version"],
            tuple(answer["prefixes"]),
            tuple(answer["standard"]),
            tuple(answer["packages"]),
        )
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        message = f"{executable} cannot be used: {_said_instead(error)}"
        raise UnusableError(message) from None
    if kind or number < _OLDEST:
        what = kind or f"Python {number[0]}.{number[1]}"
        message = f"{executable} is {what}; boxes are run by an ordinary CPython from 3.11 on"
        raise UnusableError(message)
    return known


def _said_instead(error: Exception) -> str:
    """Return why there is no answer: what the program itself says, if it says anything."""
    if isinstance(error, subprocess.CalledProcessError):
        said: bytes = error.stderr or b""
        lines = [line for line in said.decode("utf-8", "replace").splitlines() if line]
        if not lines:
            return f"it ended with status {error.returncode}"
        return lines[-1 if lines[0].startswith("Traceback") else 0][:_MOST_CHARACTERS]
    if isinstance(error, ValueError | KeyError | TypeError):
        return "it does not answer as a Python does"
    return f"{type(error).__name__}: {error}"


def _check_owner(executable: str) -> None:
    """Refuse an interpreter that another user could put something else in the place of.

    It runs before a box has given up anything, and may do so as root.
    """
    path = Path(os.path.realpath(executable))
    for place in (path, *path.parents):
        try:
            found = place.stat()
        except OSError as error:
            message = f"{executable} cannot be used: {place}: {error.strerror}"
            raise UnusableError(message) from None
        if found.st_uid not in {0, os.geteuid()}:
            message = f"{executable} cannot be used: {place} belongs to user {found.st_uid}"
            raise UnusableError(message)
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            message = f"{executable} cannot be used: every user can change {place}"
            raise UnusableError(message)


@contextlib.contextmanager
def held(interpreter: Interpreter | None) -> Iterator[None]:
    """Keep what an interpreter needs from being taken away; ``OSError``, ESTALE if it has gone."""
    if interpreter is None or not interpreter.keep:
        yield
        return
    try:
        descriptor = os.open(interpreter.keep, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise _gone(interpreter) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _gone(interpreter) from None
        if not os.path.exists(interpreter.keep):  # whoever removes it has renamed its folder first
            raise _gone(interpreter)
        yield
    finally:
        os.close(descriptor)


def _gone(interpreter: Interpreter) -> OSError:
    return OSError(errno.ESTALE, f"the environment has been removed: {interpreter.keep}")
