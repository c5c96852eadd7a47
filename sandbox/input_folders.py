"""Where the files of calls lie while they run: folders on the host's disk, which boxes may read.

A box of a plugin that takes files has one, with a folder for each of its slots, made before any of
its cells. The runner alone writes to it. Each is locked for as long as its runner lives, so that
the next one finds out what a killed runner has left.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from toolrunner.sandbox import forks
from toolrunner.sandbox.ending import Ending, SetupFailure, Stage
from toolrunner.sandbox.input_files import ChangedError, InputFile, WithdrawnError, copy
from toolrunner.sandbox.inside import protocol
from toolrunner.sandbox.inside.folders import FOLDER
from toolrunner.sandbox.profile import INPUTS_PREFIX
from toolrunner.sandbox.root_host import unreachable_by
from toolrunner.sandbox.scratch import remove_tree

_LOG = logging.getLogger("toolrunner.sandbox")

_PLACES = ("/var/tmp", "/tmp")
_TRIES = 20  # another runner may take a new folder for one that was left


class NotGivenError(Exception):
    """A call has not got its files: nothing of it ran, and ``ending`` says why."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending = ending


class InputFolders:
    """Makes the folders of boxes, and removes what killed runners have left. Thread-safe."""

    def __init__(self, state: Path | None = None) -> None:
        """``state``: the folder to make them in; without one, that for temporary files."""
        self._state = None if state is None else str(state / "inputs")
        self._begin()
        forks.in_each_child(self, InputFolders._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._swept: set[str] = set()

    def sweep(self) -> None:
        """Remove what runners have left in the state folder that were killed; done once."""
        if self._state is not None and os.path.isdir(self._state):
            self._sweep(self._state)

    def make(self, slots: int, uid: int | None, *, is_seen: bool) -> Inputs:
        """Return a new folder for a box; ``OSError`` if there can be none.

        ``uid``: the host's user that the box is, for root. ``is_seen``: in a root of its own, else
        it has to get there by itself.
        """
        places = [tempfile.gettempdir(), *_PLACES]
        if self._state is not None:
            with contextlib.suppress(OSError):
                os.makedirs(self._state, 0o700, exist_ok=True)
                places.insert(0, self._state)
        if uid is not None:
            # Root of a user namespace crosses what is root's, or everybody's.
            user = 0 if is_seen else uid
            places = [p for p in places if unreachable_by(user, [f"{p}/folder"]) is None] or places
        seen_as = protocol.INPUTS if is_seen else ""
        problems: list[OSError] = []
        for place in places:
            self._sweep(place)
            try:
                return Inputs(place, slots, uid, seen_as=seen_as)
            except OSError as error:  # as on a disk of another host, which knows no such locks
                problems.append(error)
        raise problems[0]

    def _sweep(self, place: str) -> None:
        with self._lock:
            if place in self._swept:
                return
            self._swept.add(place)
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                if entry.name.startswith(INPUTS_PREFIX):
                    _remove_if_left(entry.path)


def _remove_if_left(folder: str) -> None:
    """Remove a folder of ours whose runner has ended."""
    with contextlib.suppress(OSError), forks.held_off():
        descriptor = os.open(folder, os.O_RDONLY | FOLDER)
        try:
            if os.fstat(descriptor).st_uid == os.geteuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(folder)
        finally:
            os.close(descriptor)


class Inputs:
    """The folder of one box. Close it once the box has ended."""

    def __init__(self, place: str, slots: int, uid: int | None, *, seen_as: str) -> None:
        """Make it in ``place``; ``uid``: the box's user, of root's.

        ``seen_as``: its name in the box, if that has another one for it.
        """
        self._uid = uid
        self._seen_as = seen_as
        with forks.held_off():
            self.folder, self._descriptor = _locked_folder(place)
            forks.in_each_child(self, Inputs._let_go)
        try:
            for slot in range(slots):
                os.mkdir(self._slot(slot))
                self._show(self._slot(slot))
            self._show(self.folder)
        except OSError:
            self.close()
            raise

    def _let_go(self) -> None:
        """In a fork: close the copy, since a lock lives as long as any; the folder is not ours."""
        self._unlock()
        self.folder = ""

    def _unlock(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _slot(self, slot: int) -> str:
        return f"{self.folder}/{slot}"

    def _show(self, path: str, *, is_file: bool = False) -> None:
        """Let the box's user read a folder or a file of ours, and nobody else."""
        if self._uid is not None:
            os.chown(path, -1, self._uid)
        own, group = (0o400, 0o040) if is_file else (0o700, 0o050)
        os.chmod(path, own if self._uid is None else own | group)

    def give(
        self, slot: int, files: Iterable[InputFile], is_withdrawn: Callable[[], bool]
    ) -> Given:
        """Put a call's files into a folder of its slot; raise ``NotGivenError`` if that fails.

        ``is_withdrawn`` tells whether to go on.
        """
        with contextlib.ExitStack() as stack:
            try:
                self._clear(slot)  # of what could not be removed before
                stack.callback(self._try_to_clear, slot)
                # Others of its plugin could ask for a file by a name that they can guess.
                name = os.urandom(8).hex()
                folder = f"{self._slot(slot)}/{name}"
                os.mkdir(folder)
                for file in files:
                    self._write(f"{folder}/{file.name}", file, is_withdrawn)
                self._show(folder)
            except ChangedError as error:
                raise NotGivenError(Ending(stage=Stage.SETUP, refused=str(error))) from error
            except WithdrawnError as error:
                raise NotGivenError(Ending(stage=Stage.SETUP, cancelled=True)) from error
            except OSError as error:
                failure = SetupFailure(
                    f"copy the call's files to {self.folder}",
                    str(error),
                    error.errno,
                    "see that there is space, or keep the state elsewhere (TOOLRUNNER_STATE)",
                )
                raise NotGivenError(Ending(stage=Stage.SETUP, setup=failure)) from error
            return Given(f"{self._seen_as or self.folder}/{slot}/{name}", stack.pop_all())

    def _write(self, path: str, file: InputFile, is_withdrawn: Callable[[], bool]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(path, flags, 0o600)
        try:
            copy(file, target, is_withdrawn)
        finally:
            os.close(target)
        self._show(path, is_file=True)

    def _clear(self, slot: int) -> None:
        """Remove a call's files; whoever has one open yet has an empty one."""
        for name in os.listdir(self._slot(slot)):
            folder = f"{self._slot(slot)}/{name}"
            with contextlib.suppress(OSError):
                for file in os.listdir(folder):
                    _empty(f"{folder}/{file}")
            remove_tree(folder)
            if os.path.lexists(folder):
                raise OSError(errno.ENOTEMPTY, "it cannot be removed", folder)

    def _try_to_clear(self, slot: int) -> None:
        try:
            self._clear(slot)
        except FileNotFoundError:
            return  # the box has been closed meanwhile
        except OSError as error:
            _LOG.warning("the files of a call are still in %s: %s", self._slot(slot), error)

    def close(self) -> None:
        """Remove it with all that is in it; in a fork, it is the parent's to remove."""
        if self._descriptor >= 0:
            remove_tree(self.folder)
            self._unlock()


class Given:
    """The files of one call, in their place. Close it when the call has been answered.

    ``folder``: as the cell sees it.
    """

    def __init__(self, folder: str, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self._stack = stack

    def close(self) -> None:
        """Take them away."""
        self._stack.close()


def _empty(path: str) -> None:
    """Give the space of a file back, even if a process has it open."""
    with contextlib.ExitStack() as stack:
        for flags in (os.O_RDONLY, os.O_WRONLY):  # one that may only be read is ours to change
            opened = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            stack.callback(os.close, opened)
            os.fchmod(opened, 0o600)
        os.ftruncate(opened, 0)


def _locked_folder(place: str) -> tuple[str, int]:
    """Make a folder and lock it, before another runner takes it for one that was left."""
    for _ in range(_TRIES):
        folder = tempfile.mkdtemp(prefix=INPUTS_PREFIX, dir=place)
        try:
            descriptor = os.open(folder, os.O_RDONLY | FOLDER)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.samestat(os.stat(folder), os.fstat(descriptor)):
                return folder, descriptor
        except OSError:
            os.close(descriptor)
            if os.path.lexists(folder):
                os.rmdir(folder)
                raise
        else:
            os.close(descriptor)
    raise OSError(errno.EAGAIN, "new folders are removed by somebody", place)
