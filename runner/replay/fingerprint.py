"""A plugin's files as one number, to tell later whether they are the same.

Asked when a call has failed, and when it is run again. Reads files, and runs nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from toolrunner.plugins.plugin import Plugin
from toolrunner.sandbox import paths

# A folder may hold models: of what is larger, and of more files, the size has to do.
_MOST_FILES = 2000
_MOST_BYTES = 1 << 20
_PASSED_OVER = frozenset({"__pycache__", ".git", "node_modules"})


def fingerprint(plugin: Plugin) -> str:
    """Return what changes with the plugin's files, "" for files that cannot be read.

    Of a file larger than 1 MiB its size counts, and of very many files the first ones.
    """
    digest = hashlib.sha256()
    try:
        if plugin.kind == "file":
            with os.fdopen(paths.open_file(plugin.found_at), "rb") as file:
                digest.update(file.read())
        else:
            for path, name in _files(plugin.found_at):
                _add(digest, path, name)
    except OSError:
        return ""
    return f"sha256:{digest.hexdigest()}"


def _files(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the files below a folder, each with its path there, always in the same order."""
    left = _MOST_FILES
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _PASSED_OVER)
        for name in sorted(names)[:left]:
            path = os.path.join(where, name)  # noqa: PTH118 - as os.walk has it
            yield path, os.path.relpath(path, folder)
            left -= 1


def _add(digest: hashlib._Hash, path: str, name: str) -> None:
    if not os.path.isfile(path):  # noqa: PTH113 - a pipe is not waited for
        return
    size = os.path.getsize(path)  # noqa: PTH202 - as above
    digest.update(f"{len(os.fsencode(name))} {size} ".encode() + os.fsencode(name))
    if size <= _MOST_BYTES:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            digest.update(file.read(_MOST_BYTES))
