"""Masks of a result: rows of numbers, drawn as an SVG path of the places that are marked.

Called by ``shapes``. Whatever a plugin says, a path is short: what is too fine is drawn coarser.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MOST_SIDE = 4096
_LEAST_SIDE = 3
_MOST_RUNS = 4000
_FINEST = 256  # rows and columns that a path has
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Mask:
    """What is marked, as a path in a picture of so many cells; or the artifact that shows it."""

    width: int
    height: int
    path: str
    label: str = ""
    artifact: str = ""


def mask_of(value: object, label: str) -> Mask | None:
    """Return the mask that a value is; ``None`` for one that is none."""
    if isinstance(value, dict):
        name = value.get("artifact")
        return Mask(0, 0, "", label, name) if isinstance(name, str) and name else None
    cells = _cells(value)
    return None if cells is None else Mask(len(cells[0]), len(cells), _path(cells), label)


def _cells(value: object) -> list[list[bool]] | None:
    """Return what is marked, as finely as it is drawn; ``None`` for what are no rows of numbers.

    Only what is drawn is looked at: a mask may have millions of cells.
    """
    if not isinstance(value, list) or not _LEAST_SIDE <= len(value) <= MOST_SIDE:
        return None
    first = value[0]
    # Pairs are points.
    if not isinstance(first, list) or not _LEAST_SIDE <= len(first) <= MOST_SIDE:
        return None
    width, found = len(first), []
    step = math.ceil(max(len(value), width) / _FINEST)
    for row in value[::step]:
        if not isinstance(row, list) or len(row) != width:
            return None
        marked = []
        for one in row[::step]:
            if not isinstance(one, int | float) or (isinstance(one, float) and math.isnan(one)):
                return None
            # A number between 0 and 1 is how sure somebody is.
            marked.append(one >= _HALF if isinstance(one, float) else bool(one))
        found.append(marked)
    return found


def _path(rows: list[list[bool]]) -> str:
    """Return each row's runs of marked cells as rectangles."""
    pieces: list[str] = []
    for y, row in enumerate(rows):
        x = 0
        while x < len(row):
            if not row[x]:
                x += 1
                continue
            start = x
            while x < len(row) and row[x]:
                x += 1
            pieces.append(f"M{start} {y}h{x - start}v1h-{x - start}z")
            if len(pieces) >= _MOST_RUNS:
                return "".join(pieces)
    return "".join(pieces)
