"""Writing a plan's files: each whole or not at all, and what was there before is kept beside it."""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import tempfile
from pathlib import Path

from migration.findings import Change, shown


def diff(change: Change) -> str:
    """Return a change as a unified diff."""
    before = (change.before or b"").decode("utf-8-sig").replace("\r\n", "\n")
    after = change.after.decode("utf-8-sig").replace("\r\n", "\n")
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        shown(change.path) if change.before is not None else os.devnull,
        shown(change.path),
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def write(change: Change) -> Path | None:
    """Write one file; return the backup of what it was. Raises OSError, and changes nothing then.

    What has changed since the plan was made is not overwritten.
    """
    now = change.path.read_bytes() if change.path.exists() else None
    if now != change.before:
        message = "it has changed since it was read; run this again"
        raise OSError(message)
    descriptor, name = tempfile.mkstemp(dir=change.path.parent, prefix=".migrate-")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(change.after)
            file.flush()
            os.fsync(descriptor)
        backup = None
        if change.before is None:
            temporary.chmod(0o644)
            os.link(temporary, change.path)  # fails if somebody was faster
        else:
            shutil.copymode(change.path, temporary)
            status = change.path.stat()
            with contextlib.suppress(PermissionError):  # only root may give files away
                os.chown(temporary, status.st_uid, status.st_gid)
            backup = _backup(change.path)
            temporary.replace(change.path)
        return backup
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _backup(path: Path) -> Path:
    """Give the file a second name, the first that is free: .orig, .orig.1, .orig.2 ..."""
    number = 0
    while True:
        backup = path.with_name(f"{path.name}.orig" + (f".{number}" if number else ""))
        try:
            os.link(path, backup)
        except FileExistsError:
            number += 1
        else:
            return backup
