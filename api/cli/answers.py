"""The folder for results of ``analyze``: one JSON file an image, whole or not there.

Each is written beside its place and renamed, so that whoever is killed leaves no half of one, and
who goes on knows what is done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolrunner.api.cli.exits import Refused
from toolrunner.api.cli.inputs import Identity
from toolrunner.plugins.errors import shown

SUFFIX = ".json"


class AnswerFolder:
    """A folder that results are written to."""

    def __init__(self, path: str) -> None:
        """Make it if need be; raises Refused for what can be none."""
        self._path = Path(path)
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            found = self._path.stat()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            message = f"--out {shown(path)}: {error}; name a folder, or one that can be made"
            raise Refused(message) from None
        self.identity: Identity = (found.st_dev, found.st_ino)

    def has(self, below: str, plugin: str) -> bool:
        """Tell whether a result of this plugin is there; an error is none."""
        start = _start(plugin)
        try:
            with self._place(below).open("rb") as file:
                return file.read(len(start)) == start
        except OSError:
            return False

    def write(self, below: str, document: Mapping[str, Any]) -> None:
        """Write what became of one image; what was there is replaced."""
        place = self._place(below)
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{place.name}.{os.getpid()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(beside, flags, 0o666), "w", encoding="ascii") as file:
                file.write(json.dumps(document, allow_nan=False) + "\n")
            beside.replace(place)
        except BaseException:  # an interrupt too
            beside.unlink(missing_ok=True)
            raise

    def _place(self, below: str) -> Path:
        return self._path / f"{below}{SUFFIX}"


def _start(plugin: str) -> bytes:
    """Return how the document of a result begins."""
    return json.dumps({"plugin": plugin}).encode().removesuffix(b"}") + b", "
