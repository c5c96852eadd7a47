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
    """The digests of what was removed, and of what nobody needs and something still uses.

    ``plugins``: the paths of plugins that have none now and that whoever prunes did not name.
    ``cache_bytes``: what uv had kept, if that was removed as well; ``bytes`` is without it.
    """

    removed: tuple[str, ...]
    in_use: tuple[str, ...]
    bytes: int
    plugins: tuple[str, ...] = ()
    cache_bytes: int = 0


def prune_environments(folder: Path, building: Path, wanted: Iterable[str]) -> Pruned:
    """Remove all environments but those that answer the ``wanted`` keys of wishes.

    What something uses stays whole, and what names it too: a server may know plugins that whoever
    prunes does not, and finds it by that alone.
    """
    keys = set(wanted)
    answers = _answers(folder)
    kept = {answer.digest for key, answer in answers.items() if key in keys}
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
    for key, answer in answers.items():
        if answer.digest not in stays:
            (folder / WANTED / f"{key}.json").unlink(missing_ok=True)
    os.utime(folder / WANTED)  # a server looks at its time to see that something has changed
    plugins = {one.plugin for one in answers.values() if one.digest in removed and one.plugin}
    return Pruned(tuple(removed), tuple(in_use), total, tuple(sorted(plugins)))


@dataclass(frozen=True, slots=True)
class _Answer:
    digest: str = ""
    plugin: str = ""


def _answers(folder: Path) -> dict[str, _Answer]:
    """Return what names each wish's environment, by the key of the wish."""
    found = {}
    for path in (folder / WANTED).glob("*.json"):
        answer = _Answer()
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            document = json.loads(path.read_bytes())
            answer = _Answer(str(document["digest"]), str(document.get("plugin", "")))
        found[path.stem] = answer
    return found


def _remove(environment: Path, building: Path) -> bool:
    """Remove one environment; return false for one that a box holds (``interpreter.held``)."""
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
