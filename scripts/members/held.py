"""Which folder a cluster is in, and which process has started it: how ``stop`` finds whom to tell.

The process holds a lock on a file there. The kernel says who holds a lock, and frees it with its
process: so no number is written down that another process may have by then.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from members.program import ProgramError

_FILE = "cluster.lock"
_PREFIX = "toolrunner-cluster-"
_LOCK = "hhqqi4x"  # struct flock: type, whence, start, length, process


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for a cluster. Raises ProgramError if another one is in it."""
    descriptor = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            message = f"a cluster runs in {folder} already: scripts/cluster stop --folder {folder}"
            raise ProgramError(message) from None
        yield
    finally:
        os.close(descriptor)


def new_folder() -> Path:
    """Make a folder for a cluster that goes with it."""
    return Path(tempfile.mkdtemp(prefix=_PREFIX))


def running() -> list[Path]:
    """Return the folders without a name of their own in which clusters of this user run."""
    folders = sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"))
    own = [one for one in folders if one.lstat().st_uid == os.geteuid() and not one.is_symlink()]
    return [folder for folder in own if _holder(folder)]


def _holder(folder: Path) -> int:
    """Return the process that holds a folder, 0 for none."""
    try:
        descriptor = os.open(folder / _FILE, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        asked = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = struct.unpack(_LOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    return 0 if answer[0] == fcntl.F_UNLCK else int(answer[4])


def end(folder: Path) -> bool:
    """Ask the process that holds a folder to end, and wait for it; whether there was one."""
    holder = _holder(folder)
    if holder <= 0:
        return False
    with suppress(ProcessLookupError):
        process = os.pidfd_open(holder)
        try:
            if _holder(folder) != holder:  # its number may have been given to another one
                return False
            signal.pidfd_send_signal(process, signal.SIGTERM)
            select.select([process], [], [])
        finally:
            os.close(process)
    return True
