"""The line of a plugin's own code that an error came through, for those who see no traceback.

Called by the command line, and for the log. The traceback is the plugin's word, and only shown:
whatever stands in it, what it belongs to is told.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LOG = logging.getLogger("toolrunner.runner")
# As Python writes it; "| " stands before those of an exception group. Without a function: code that
# could not be compiled.
_FRAME = re.compile(
    r'^[ |]*File "(?P<file>[^"\n\0]+)", line (?P<line>[0-9]{1,9})(?![0-9])'
    r"(?:, in (?P<function>[^\n]+))?"
    r"(?:\n[ |]{4,}(?P<source>[^\n]+))?",
    re.MULTILINE,
)
_MARKS = frozenset(" ^~|")
_LONGEST = 200
_MOST_BYTES = 1 << 20


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
    return place_in(envelope["_internal"]["traceback"], path)


def place_in(traceback: str, path: Path) -> Place | None:
    """Return the same, from the traceback itself; nothing if it is none that can be read."""
    try:
        return _place_in(traceback, path)
    except Exception:  # noqa: BLE001 - logged; the error that it belongs to is to be told all the same
        _LOG.exception("the line that an error of %s came through is not told", path)
        return None


def _place_in(traceback: str, path: Path) -> Place | None:
    own = {str(path), os.path.realpath(path)}
    last = None
    for frame in _FRAME.finditer(traceback):
        if _own_name(frame["file"], path, own):
            last = frame
    if last is None:
        return None
    name = _own_name(last["file"], path, own)
    function = f" in {last['function'][:_LONGEST]}" if last["function"] else ""
    source = (last["source"] or "").strip()[:_LONGEST]
    is_source = not _MARKS.issuperset(source) and not source.startswith("File ")
    source = source if is_source else _line(last["file"], int(last["line"]), path, own)
    return Place(f"{name}:{last['line']}{function}", source)


def _line(file: str, number: int, path: Path, own: set[str]) -> str:
    """Return a line of a plugin's own file, where a stack names it and does not quote it."""
    try:
        real = Path(os.path.realpath(file))
        if not (real.is_file() and _own_name(str(real), path, own)):
            return ""
        with real.open("rb") as opened:
            lines = opened.read(_MOST_BYTES).splitlines()
    except (OSError, ValueError):  # ValueError: of a name that no file can have
        return ""
    found = lines[number - 1] if 0 < number <= len(lines) else b""
    return found.decode("utf-8", "replace").strip()[:_LONGEST]


def _own_name(file: str, path: Path, own: set[str]) -> str:
    """Return how a plugin's author calls a file, "" for one of others."""
    for one in own:
        if file == one:
            return path.name
        if file.startswith(f"{one}/"):
            return file.removeprefix(f"{one}/")
    return ""
