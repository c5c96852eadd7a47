"""Opens an SQLite file of the state folder whose tables change from version to version.

Who keeps such a file lists the steps to its present form, the first one making it from nothing; a
change is one more step at the end, and a step that was released is never changed. The file says in
``user_version`` how many of them it has seen.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, NoReturn

from toolrunner.runner.state.database import connect, transaction

_LOG = logging.getLogger("toolrunner.state")


def _nothing(_database: sqlite3.Connection) -> None:
    """Do nothing with a new file."""


def open_migrated(
    path: Path,
    steps: Sequence[str],
    *,
    synchronous: Literal["FULL", "NORMAL"],
    busy_seconds: float,
    on_new: Callable[[sqlite3.Connection], None] = _nothing,
    may_migrate: bool = True,
) -> sqlite3.Connection:
    """Open a file, or make it, and have it go the steps that it has not seen, all or none.

    An older one is copied first, to ``NAME.vN`` beside it. ``on_new`` belongs to the making of one
    that is not there, or is empty. Raises OSError for one that a newer version has written,
    or an older one where ``may_migrate`` is not; and what SQLite raises.
    """
    database = connect(path, synchronous=synchronous, busy_seconds=busy_seconds)
    try:
        if missing := _missing(database, path, steps):
            if not may_migrate and len(missing) < len(steps):
                _refuse_older(path, len(steps) - len(missing), len(steps))
            with transaction(database):
                _migrate(database, path, steps, on_new)
    except BaseException:
        database.close()
        raise
    return database


def copy_name(path: Path, version: int) -> str:
    """Return what the copy of a file is called that was of that version."""
    return f"{path.name}.v{version}"


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _missing(database: sqlite3.Connection, path: Path, steps: Sequence[str]) -> Sequence[str]:
    """Return the steps that a file has not seen."""
    found, known = _version(database), len(steps)
    if found > known:
        message = (
            f"{path} is of version {found}, and this toolrunner knows none after {known}: start the"
            f" newer toolrunner again; or, to go back, put {copy_name(path, known)} in its place"
            " while no server runs, which loses what came after it was copied"
        )
        raise OSError(message)
    return steps[found:]


def _refuse_older(path: Path, found: int, known: int) -> NoReturn:
    message = (
        f"{path} is of version {found}, of an older toolrunner, and this one reads version {known}:"
        " use the older one; or end its servers and start this one's (`toolrunner serve`), which"
        " brings the file up to date and keeps a copy"
    )
    raise OSError(message)


def _migrate(
    database: sqlite3.Connection,
    path: Path,
    steps: Sequence[str],
    on_new: Callable[[sqlite3.Connection], None],
) -> None:
    """Go the steps, in a transaction: another process may have done so while this one waited."""
    missing = _missing(database, path, steps)
    found = len(steps) - len(missing)
    if not missing:
        return
    if found:
        _keep_copy(path, found)
    for step in missing:
        for statement in _statements(step):
            database.execute(statement)
    if not found:
        on_new(database)
    database.execute(f"PRAGMA user_version = {len(steps)}")
    if found:
        words = "%s was of version %d and is now of version %d; what it was is kept in %s"
        _LOG.warning(words, path, found, len(steps), copy_name(path, found))


def _statements(step: str) -> Iterator[str]:
    """Yield a script's statements: ``executescript`` would end the transaction."""
    statement = ""
    for line in step.strip().splitlines():
        statement += f"{line}\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement


def _keep_copy(path: Path, version: int) -> None:
    """Copy a file as it was committed last, through a connection of its own; it is whole or not."""
    target = path.with_name(copy_name(path, version))
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("VACUUM INTO ?", (str(part),))
        os.fsync(descriptor)
        part.rename(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
