"""What plugins' imports have written into their caches, kept between boxes: a file for each plugin.

A box brings it along when the plugin is loaded (``inside/caches.py``). The bytes come from plugin
code, before any call of its process: they are never looked into here, and go back to the same
plugin alone. All methods may be used at once, by several processes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import struct
import tempfile
import time
import zlib
from pathlib import Path

from toolrunner.sandbox.limits import MIB
from toolrunner.sandbox.profile import Program

_LOG = logging.getLogger("toolrunner.sandbox")

MOST_BYTES = 256 * MIB  # of all plugins
MOST_SECONDS = 30 * 86_400.0  # without a load of the plugin
_USED_SECONDS = 3600.0
_CHECK = struct.Struct(">I")
_UNFINISHED = ".new-"


class Caches:
    """The files of one folder."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is made when there is something to keep."""
        self._folder = folder

    def find(self, program: Program, *, warms_up: bool) -> bytes:
        """Return what was kept for a program, or nothing.

        ``warms_up``: of a load that does more than a cold call's.
        """
        path = self._path(program, warms_up=warms_up)
        try:
            data = path.read_bytes()
            if time.time() - path.stat().st_mtime > _USED_SECONDS:
                os.utime(path)
        except OSError:
            return b""
        packed = data[_CHECK.size :]
        # A host that lost its power may have kept the name alone.
        if data[: _CHECK.size] != _CHECK.pack(zlib.crc32(packed)):
            return b""
        return packed

    def keep(self, program: Program, packed: bytes, *, warms_up: bool) -> None:
        """Keep caches for the next load; one that another process has kept meanwhile goes."""
        path = self._path(program, warms_up=warms_up)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, unfinished = tempfile.mkstemp(prefix=_UNFINISHED, dir=self._folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(_CHECK.pack(zlib.crc32(packed)))
                    file.write(packed)
                os.replace(unfinished, path)
            except BaseException:
                Path(unfinished).unlink(missing_ok=True)
                raise
            self._prune(path)
        except OSError as error:
            _LOG.info("the caches of plugin %s are not kept: %s", program.name, error)

    def forget(self, program: Program, *, warms_up: bool) -> None:
        """Keep nothing for a program: a load that had it failed."""
        with contextlib.suppress(OSError):
            self._path(program, warms_up=warms_up).unlink()

    def _path(self, program: Program, *, warms_up: bool) -> Path:
        """Return the place for one plugin as it is, and for the interpreter with its packages."""
        what = [
            program.name, program.path, program.entry, program.stamp, program.rehearsal,
            program.network, program.read, dict(program.config),
            program.interpreter_state, warms_up,
        ]  # fmt: skip
        digest = hashlib.sha256(json.dumps(what, default=str).encode("utf-8", "backslashreplace"))
        digest.update(program.source)
        return self._folder / digest.hexdigest()

    def _prune(self, latest: Path) -> None:
        """Remove what was not used for long, and the rest beyond the bound, oldest first."""
        found = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):
                state = entry.stat(follow_symlinks=False)
                found.append((state.st_mtime, state.st_size, entry.path))
        size = 0
        for used, own_size, path in sorted(found, reverse=True):
            patience = _USED_SECONDS if _UNFINISHED in path else MOST_SECONDS
            is_old = time.time() - used > patience
            size += own_size
            if (is_old or size > MOST_BYTES) and path != str(latest):
                with contextlib.suppress(OSError):
                    os.unlink(path)
