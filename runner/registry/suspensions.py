"""Which plugins take no calls for now: the operator has said so, or they failed again and again.

A registry asks before each call and tells how it ended. What is known is a small file of the state
folder, so all its processes, and those after a restart, go by the same; a look costs one ``stat``.
Nothing here ends a call: a file that cannot be used is logged, and what it should hold is kept.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from toolrunner.runner.state.reopened import UnusableError, remedy, unusable
from toolrunner.runner.state.reserve import with_room
from toolrunner.sandbox import forks

_LOG = logging.getLogger("toolrunner.registry")
FILE = "suspensions.json"
_LOCK_FILE = "suspensions.lock"
_VERSION = 1
# A process that was stopped while it held the lock may not stop the others.
_LOCK_SECONDS = 1.0
_LOCK_PAUSE_SECONDS = 0.002


class SuspendedBy(StrEnum):
    """Who has suspended a plugin."""

    BREAKER = "breaker"
    OPERATOR = "operator"


class Verdict(StrEnum):
    """What an ended call says of its plugin: nothing, where caller or host are to blame."""

    WORKS = "works"
    FAILED = "failed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Standing:
    """How one plugin stands. Times are those of the wall clock: they outlive a process.

    The breaker's suspension holds from ``since`` to ``until``; then one call tries, which is
    ``trial``. Until its end is known, it holds for as long again.
    """

    failures: int = 0
    suspended_by: str = ""
    since: float = 0.0
    until: float = 0.0
    trial: str = ""
    reason: str = ""

    def seconds_left(self, now: float) -> float:
        """Return for how long no call is taken; endless where only the operator ends it.

        A clock that was set back ends the breaker's suspension: nobody knows how long it has been.
        """
        if self.suspended_by == SuspendedBy.OPERATOR:
            return float("inf")
        if self.suspended_by and self.since <= now:
            return max(0.0, self.until - now)
        return 0.0


def suspended(name: str, by: str, failures: int) -> str:
    """Return in words by whom a plugin is suspended, and what to do about it."""
    end = f"`toolrunner plugins enable {name}`"
    if by == SuspendedBy.OPERATOR:
        return f"is suspended by the operator ({end} ends it)"
    return (
        f"is suspended by the circuit breaker, as it has failed {failures} times in a row (mend "
        f"what fails: its next call tries, and {end} ends it at once)"
    )


_FINE = Standing()
_Standings = Mapping[str, Standing]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Document:
    version: int
    plugins: dict[str, Standing]


_FILE = TypeAdapter(_Document)


class Suspensions:
    """How the plugins of one registry stand. Thread-safe."""

    def __init__(self, folder: Path | None = None) -> None:
        """``folder``: whose file holds it, by default none does. The breaker is off."""
        self._path = "" if folder is None else str(folder / FILE)
        self._failures, self._seconds = 0, 30.0
        # What the file held when it looked so: replaced as one, and never changed.
        self._known: tuple[tuple[int, ...] | None, _Standings] = (None, {})
        self.problem = ""
        self._rows: dict[str, int] = {}  # failures in a row, where no breaker shares them
        self._in_child()
        forks.in_each_child(self, Suspensions._in_child)

    def _in_child(self) -> None:
        self._lock = threading.Lock()

    def suspend_after(self, failures: int, seconds: float) -> None:
        """Suspend a plugin for ``seconds`` after so many failures in a row; 0 turns that off."""
        self._failures, self._seconds = failures, seconds

    def standing(self, name: str) -> Standing:
        """Return how a plugin stands."""
        return self._look().get(name, _FINE)

    def shown(self, name: str) -> Standing:
        """Return how a plugin stands here, for whoever looks.

        Without a breaker its row is of this registry's own calls: those of others would be a count
        that nothing here goes on with.
        """
        standing = self.standing(name)
        if self._failures or standing.suspended_by:
            return standing
        return Standing(self._rows.get(name, 0))

    def refusal(self, name: str, call_id: str = "") -> Standing | None:
        """Return how a plugin stands that takes no call now, and ``None`` for one that does.

        The call with ``call_id`` is about to begin: where it is time for one that tries, it is it.
        """
        standing = self.standing(name)
        if not standing.suspended_by or not self._is_heeded(standing):
            return None
        if standing.seconds_left(time.time()) > 0:
            return standing
        return self._change(lambda all_of: self._try(all_of, name, call_id)) if call_id else None

    def _is_heeded(self, standing: Standing) -> bool:
        """Whether a suspension holds here: the breaker's own not where there is none."""
        return bool(self._failures) or standing.suspended_by == SuspendedBy.OPERATOR

    def _try(self, standings: dict[str, Standing], name: str, call_id: str) -> Standing | None:
        now, old = time.time(), standings.get(name, _FINE)
        if old.seconds_left(now) > 0:
            return old  # another call was first
        if old.suspended_by:
            until = now + self._seconds
            standings[name] = replace(old, since=now, until=until, trial=call_id)
        return None

    def ended(self, name: str, call_id: str, verdict: Verdict, reason: str = "") -> None:
        """Note how a call has ended, and log what follows from it.

        While a plugin is suspended only the call that tries counts: others began before.
        """
        if not self._failures:
            self._count(name, verdict)
            return
        old = self.standing(name)
        if old == _FINE and verdict is not Verdict.FAILED:
            return
        if verdict is Verdict.NONE and old.trial != call_id:
            return

        def step(standings: dict[str, Standing]) -> tuple[Standing, Standing]:
            old = standings.get(name, _FINE)
            standings[name] = new = self._after(old, call_id, verdict, reason)
            return old, new

        _tell(name, *self._change(step), self._seconds)

    def _count(self, name: str, verdict: Verdict) -> None:
        if verdict is Verdict.FAILED:
            with self._lock:
                self._rows[name] = self._rows.get(name, 0) + 1
        elif verdict is Verdict.WORKS and name in self._rows:
            with self._lock:
                self._rows.pop(name, None)

    def _after(self, old: Standing, call_id: str, verdict: Verdict, reason: str) -> Standing:
        is_trial = old.suspended_by == SuspendedBy.BREAKER and old.trial == call_id
        if old.suspended_by and not is_trial:
            return old
        if verdict is Verdict.WORKS:
            return _FINE
        now = time.time()
        if verdict is Verdict.NONE:  # it has tried nothing: the next call may
            return replace(old, until=now, trial="") if is_trial else old
        count = old.failures + 1
        if is_trial or count >= self._failures:
            return Standing(count, SuspendedBy.BREAKER, now, now + self._seconds, "", reason)
        return Standing(count, reason=reason)

    def suspend(self, name: str) -> None:
        """Take no calls of a plugin until ``resume``: the operator's word.

        Raises OSError where the file cannot be written.
        """
        self._change(lambda standings: _suspend(standings, name), must_keep=True)
        _LOG.warning("plugin %r is suspended by the operator", name)

    def resume(self, name: str) -> bool:
        """Take calls of a plugin again, whoever has suspended it; tell whether it was.

        Raises OSError where the file cannot be written.
        """
        self._rows.pop(name, None)
        if self.standing(name) == _FINE:
            return False
        old = self._change(lambda standings: standings.pop(name, _FINE), must_keep=True)
        if old.suspended_by:
            _LOG.warning("plugin %r takes calls again, by the operator's word", name)
        return bool(old.suspended_by)

    def hear(self, name: str, *, is_suspended: bool, is_news: bool = True) -> None:
        """Go by what the operator has said to all servers of a cluster, who keep it.

        One that is suspended no more takes calls again whoever suspended it, if that was said only
        now. What cannot be written holds in this process.
        """
        old = self.standing(name)
        is_operators = old.suspended_by == SuspendedBy.OPERATOR
        if is_suspended and not is_operators:
            self._change(lambda standings: _suspend(standings, name))
            _LOG.warning("plugin %r is suspended by the operator, on all servers", name)
        elif not is_suspended and (is_operators or (is_news and old != _FINE)):
            self._change(lambda standings: standings.pop(name, _FINE))
            if old.suspended_by:
                _LOG.warning("plugin %r takes calls again, by the operator's word to all", name)

    def looked(self) -> str:
        """Return why nobody knows how plugins stand, as of now; "" while that is known."""
        self._look()
        return self.problem

    def _look(self) -> _Standings:
        """Return what is known, read anew if the file is another one than it was."""
        known = self._known
        if not self._path:
            return known[1]
        seen = _looks(self._path)
        if seen != known[0]:
            # What is there now may be newer than ``seen``: then the next look reads it again.
            known = self._known = (seen, self._read())
        return known[1]

    def _read(self) -> _Standings:
        problem = ""
        standings: _Standings = {}
        try:
            standings = _standings_of(Path(self._path).read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            what = getattr(error, "strerror", None) or str(error).splitlines()[0]
            todo = "remove it, and suspend again what has to be"
            if isinstance(error, PermissionError):
                todo = remedy(error, "it and its folder")
            problem = (
                f"{self._path} cannot be read, so no plugin counts as suspended: {what}; {todo}"
            )
            _LOG.error("%s", problem)
        self.problem = problem
        return standings

    def _change(self, step: Callable[[dict[str, Standing]], T], *, must_keep: bool = False) -> T:
        """Change what is known by ``step``, for all processes.

        What cannot be written holds in this process until others write; ``must_keep`` raises
        OSError for it instead, and changes nothing.
        """
        path = Path(self._path)

        def changed() -> T:
            with _locked(path) if self._path else nullcontext():
                return self._changed(step, is_synced=must_keep)

        with self._lock:
            try:
                return with_room(path.parent, changed) if must_keep and self._path else changed()
            except OSError as error:
                if must_keep:
                    raise unusable(path, error) from error
                _LOG.error("%s; only this process knows", unusable(path, error))
                standings = dict(self._known[1])
                done = step(standings)
                self._known = (_looks(self._path), standings)
                return done

    def _changed(self, step: Callable[[dict[str, Standing]], T], *, is_synced: bool) -> T:
        before = self._look()
        if self.problem:  # what cannot be read may be worth more than what would replace it
            raise UnusableError(errno.EIO, self.problem)
        standings = dict(before)
        done = step(standings)
        standings = {name: one for name, one in standings.items() if one != _FINE}
        if standings == before:
            return done
        if self._path:
            _write(Path(self._path), standings, is_synced=is_synced)
        self._known = (_looks(self._path), standings)
        return done


def _suspend(standings: dict[str, Standing], name: str) -> None:
    old = standings.get(name, _FINE)
    standings[name] = Standing(old.failures, SuspendedBy.OPERATOR, time.time(), reason=old.reason)


def _standings_of(text: bytes) -> _Standings:
    """Return what a file says; raises ValueError for what no version of ours has written."""
    try:
        document = _FILE.validate_json(text)
    except ValidationError:
        message = "it is not what toolrunner has written"
        raise ValueError(message) from None
    if document.version != _VERSION:
        message = f"it is of version {document.version}, and this toolrunner knows {_VERSION}"
        raise ValueError(message)
    return document.plugins


def _looks(path: str) -> tuple[int, ...] | None:
    """Return what tells one content of the file from another; ``None`` when there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - before each call, and twice as fast as a Path's
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _write(path: Path, standings: _Standings, *, is_synced: bool) -> None:
    document = _Document(_VERSION, dict(sorted(standings.items())))
    new = path.with_suffix(".new")
    try:
        descriptor = _for_its_owner(str(new), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(document), file)
            file.flush()
            if is_synced:
                os.fsync(file.fileno())
        # The kernel's own stamps are milliseconds apart; two contents may not look alike.
        stamp = time.time_ns()
        os.utime(new, ns=(stamp, stamp))
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise


def _for_its_owner(path: str, flags: int) -> int:
    """Open a file for the owner of its folder alone: root may speak for the user who serves."""
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == 0:
        folder = Path(path).parent.stat()
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes out for a moment; raises OSError where that cannot be."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = _for_its_owner(str(path.with_name(_LOCK_FILE)), os.O_RDWR | os.O_CREAT)
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOCK_PAUSE_SECONDS)
        yield
        # Said, and not left to the closing: a fork that was made meanwhile has a copy.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _tell(name: str, old: Standing, new: Standing, seconds: float) -> None:
    if old.suspended_by == SuspendedBy.OPERATOR:
        return
    if new.suspended_by and not old.suspended_by:
        words = "plugin %r is suspended for %g s: %d failures in a row, the last: %s"
        _LOG.warning(words, name, seconds, new.failures, new.reason)
    elif new.failures > old.failures and new.suspended_by:
        words = "plugin %r was tried again and has failed; it stays suspended for %g s: %s"
        _LOG.warning(words, name, seconds, new.reason)
    elif old.suspended_by and not new.suspended_by:
        _LOG.warning("plugin %r was tried again and works; it is suspended no more", name)
