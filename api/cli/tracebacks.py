"""The line of a plugin's own code that an error came through, for those who see no traceback.

Called by ``outcomes`` and ``views``. The traceback is the plugin's word: it is only ever shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# As Python writes it; "| " stands before those of an exception group. Without a function: code that
# could not be compiled.
_FRAME = re.compile(
    r'^[ |]*File "(?P<file>[^"\n]+)", line (?P<line>\d+)(?:, in (?P<function>[^\n]+))?'
    r"(?:\n[ |]{4,}(?P<source>[^\n]+))?",
    re.MULTILINE,
)
_MARKS = frozenset(" ^~|")
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Place:
    """``where``: "my_plugin.py:12 in run"; ``source``: what stands there, if that is known."""

    where: str
    source: str

    @property
    def in_words(self) -> str:
        """As Python says it of code that it cannot compile: "my_plugin.py, line 12"."""
        file, _, line = self.where.rpartition(":")
        return f"{Path(file).name}, line {line}"


def own_place(envelope: Mapping[str, Any], path: Path) -> Place | None:
    """Return the innermost place in a plugin's own file or folder, where an error came from."""
    found = None
    for frame in _FRAME.finditer(envelope["_internal"]["traceback"]):
        name = _own_name(frame["file"], path)
        if name:
            function = f" in {frame['function'][:_LONGEST]}" if frame["function"] else ""
            source = (frame["source"] or "").strip()[:_LONGEST]
            is_source = not _MARKS.issuperset(source) and not source.startswith("File ")
            found = Place(f"{name}:{frame['line']}{function}", source if is_source else "")
    return found


def _own_name(file: str, path: Path) -> str:
    """Return how a plugin's author calls a file, "" for one of others."""
    for own in {str(path), os.path.realpath(path)}:
        if file == own:
            return path.name
        if file.startswith(f"{own}/"):
            return file.removeprefix(f"{own}/")
    return ""
