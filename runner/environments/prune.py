"""Removes environments that no plugin needs any more, unless something still uses them.

Called by ``toolrunner plugins prune``, under the lock that installs hold.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from toolrunner.runner.environments.store import RECORD, WANTED, is_digest
from toolrunner.runner.environments.workshop import remove_any
from toolrunner.sandbox.building import tree_bytes


@dataclass(frozen=True, slots=True)
class Pruned:
    """The digests of what was removed, and of what nobody needs and something still uses."""

    removed: tuple[str, ...]
    in_use: tuple[str, ...]
    bytes: int


def prune_environments(folder: Path, building: Path, wanted: Iterable[str]) -> Pruned:
    """Remove all environments but those that answer the ``wanted`` keys of wishes."""
    keys = set(wanted)
    kept = {digest for key, digest in _answers(folder).items() if key in keys}
    removed, in_use, total = [], [], 0
    for digest in sorted(os.listdir(folder)):  # noqa: PTH208 - names are what is looked at
        if not is_digest(digest) or digest in kept:
            continue
        size = tree_bytes(str(folder / digest), 1 << 62)
        if _remove(folder / digest, building):
            removed.append(digest)
            total += size
        else:
            in_use.append(digest)
    stays = kept | set(in_use)
    for key, digest in _answers(folder).items():
        if key not in keys or digest not in stays:
            (folder / WANTED / f"{key}.json").unlink(missing_ok=True)
    os.utime(folder / WANTED)  # a server looks at its time to see that something has changed
    return Pruned(tuple(removed), tuple(in_use), total)


def _answers(folder: Path) -> dict[str, str]:
    """Return the digest of each wish's environment, by the key of the wish."""
    found = {}
    for path in (folder / WANTED).glob("*.json"):
        digest = ""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            digest = str(json.loads(path.read_bytes())["digest"])
        found[path.stem] = digest
    return found


def _remove(environment: Path, building: Path) -> bool:
    """Remove one environment; return false for one that is held (``EnvironmentStore.hold``)."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(FileNotFoundError):
            record = os.open(environment / RECORD, flags)
            stack.callback(os.close, record)
            try:
                fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        environment.chmod(0o700)
        aside = Path(tempfile.mkdtemp(dir=building))
        environment.rename(aside / environment.name)
    remove_any(aside)
    return True
