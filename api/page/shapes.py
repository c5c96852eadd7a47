"""What of a result can be drawn upon the picture that it is about: places, in pixels, with a label.

A plugin names them as it likes, so this knows the usual names and forms, wherever in the result
they stand. What is none of them is left out without a word, and what is beyond what anybody could
look at is counted: the JSON stands beside it whole. A result may be hostile: depth, number and size
of everything are bounded, and all that comes out of here are finite numbers and cut texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from toolrunner.api.finite import finite
from toolrunner.api.page.masks import Mask, mask_of
from toolrunner.runner.errors import cut_end

MOST_SHAPES = 500
MOST_MASKS = 20
MOST_POINTS = 1000  # of one shape
MOST_POINTS_IN_ALL = 10_000
_MOST_DEPTH = 12
_MOST_VALUES = 50_000
_MOST_POINTS_SEEN = 200_000
_MOST_KEYS = 2000  # of one object
_FARTHEST = 1e6
_OPPOSITE = 2  # corners say what a rectangle is
_FEWEST_FLAT = 6  # numbers in a row that are an outline
_MOST_LABEL_BYTES = 80

_BOXES = frozenset({"box", "bbox", "boundingbox", "bounds", "rect", "rectangle", "xywh", "xyxy"})
_OUTLINES = frozenset({"corners", "polygon", "quad", "vertices", "contour", "outline"})
_POINTS = frozenset({"points", "keypoints", "landmarks"})
_MASKS = frozenset({"mask", "segmentation"})
_MANY = {
    **{name: name.removesuffix("es") for name in ("boxes", "bboxes", "boundingboxes")},
    **{f"{name}s": name for name in ("rect", "rectangle", "polygon", "quad", "contour", "outline")},
}
_LABELS = ("label", "text", "name", "class", "classname", "category", "format", "type", "kind")
_SCORES = ("score", "confidence", "probability")
# A rectangle by the names of its sides, or of a corner and its size.
_SIDES = (
    ("left", "top", "right", "bottom"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x0", "y0", "x1", "y1"),
    ("x1", "y1", "x2", "y2"),
)
_CORNERS = ("topleft", "topright", "bottomright", "bottomleft")
_SIZES = (("x", "y", "width", "height"), ("left", "top", "width", "height"), ("x", "y", "w", "h"))

Point = tuple[float, float]
Kind = Literal["outline", "points"]


class _Points(list[Point]):
    """The first points of a place; ``in_all``: how many it has."""

    def __init__(self, points: Iterable[Point], in_all: int = 0) -> None:
        super().__init__(points)
        self.in_all = max(in_all, len(self))


@dataclass(frozen=True, slots=True)
class Shape:
    """A place of a picture, in its pixels. ``points`` are the corners, or each a place itself."""

    kind: Kind
    points: tuple[Point, ...]
    label: str = ""

    @property
    def svg_points(self) -> str:
        """The points as SVG takes them."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.points)

    @property
    def at(self) -> Point:
        """Where its label goes: the point at the top, of these the left one."""
        return min(self.points, key=lambda point: (point[1], point[0]))


@dataclass(frozen=True, slots=True)
class Drawing:
    """All that can be drawn of a result. ``size``: of the picture, if the result says it.

    ``places_left_out`` and ``points_left_out``, of shapes that are drawn, are too many to be drawn;
    with ``has_more`` nobody has counted them all.
    """

    shapes: tuple[Shape, ...] = ()
    masks: tuple[Mask, ...] = ()
    size: tuple[int, int] | None = None
    has_more: bool = False
    places_left_out: int = 0
    points_left_out: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.shapes and not self.masks


def drawing_of(result: Mapping[str, Any]) -> Drawing:
    """Return what can be drawn of a result."""
    found = _Found()
    _look(result, found, 0)
    return Drawing(
        tuple(found.shapes),
        tuple(found.masks),
        _size(result),
        found.is_full,
        found.places_left_out,
        found.points_left_out,
    )


@dataclass
class _Found:
    shapes: list[Shape] = field(default_factory=list)
    masks: list[Mask] = field(default_factory=list)
    seen: int = 0
    points: int = 0
    points_seen: int = 0
    is_full: bool = False
    places_left_out: int = 0
    points_left_out: int = 0

    def add(self, kind: Kind, points: _Points, label: str) -> None:
        self.points_seen += len(points)
        self.is_full |= self.points_seen > _MOST_POINTS_SEEN
        room = MOST_POINTS_IN_ALL - self.points
        # A part of an outline would be another one.
        has_room = room > 0 if kind == "points" else room >= len(points)
        if len(self.shapes) >= MOST_SHAPES or not has_room:
            self.places_left_out += 1
            return
        drawn = tuple(points[:room])
        self.points += len(drawn)
        self.points_left_out += points.in_all - len(drawn)
        self.shapes.append(Shape(kind, drawn, label))


def _look(value: object, found: _Found, depth: int) -> None:
    """Look through a value and what is in it."""
    found.seen += 1
    if depth > _MOST_DEPTH or found.seen > _MOST_VALUES or found.is_full:
        found.is_full = True
        return
    if isinstance(value, dict):
        _look_at_object(value, found, depth)
    elif isinstance(value, list):
        for one in value[:_MOST_VALUES]:
            if isinstance(one, dict | list):
                _look(one, found, depth + 1)


def _look_at_object(value: dict[str, Any], found: _Found, depth: int) -> None:
    named = {_plain(key): one for key, one in islice(value.items(), _MOST_KEYS)}
    label = _label(named)
    if (own := _of_sides(named)) is not None:
        found.add("outline", own, label)
    for name, one in named.items():
        if name in _MANY and isinstance(one, list):
            _many(_MANY[name], one, named, found, depth)
        elif name in _BOXES:
            _add(found, "outline", _boxes(name, one, named, found), label)
        elif name in _OUTLINES:
            _add(found, "outline", _outlines(one, found), label)
        elif name in _POINTS:
            _add(found, "points", _outlines(one, found, least=1), label)
        elif name in _MASKS:
            _mask(one, label, found)
        elif isinstance(one, dict | list):
            _look(one, found, depth + 1)


def _mask(value: object, label: str, found: _Found) -> None:
    """Take a mask, or the outline of one."""
    if len(found.masks) >= MOST_MASKS:
        found.places_left_out += 1
        return
    mask = mask_of(value, label)
    if mask is None:
        _add(found, "outline", _outlines(value, found), label)
    else:
        found.masks.append(mask)


def _many(
    name: str, values: list[Any], named: Mapping[str, Any], found: _Found, depth: int
) -> None:
    """Take places of which each has its label in a list beside it."""
    lists = {
        one: other
        for one in (*_LABELS, *_SCORES)
        for key in (f"{one}s", f"{one}es", f"{one.removesuffix('y')}ies")
        if isinstance(other := named.get(key), list) and len(other) == len(values)
    }
    found.places_left_out += max(0, len(values) - MOST_SHAPES)
    for place, value in enumerate(values[:MOST_SHAPES]):
        beside = {one: other[place] for one, other in lists.items()}
        if isinstance(value, dict):
            _look({**beside, **value}, found, depth + 1)
        elif name in _OUTLINES:
            _add(found, "outline", _outlines(value, found), _label(beside))
        else:
            _add(found, "outline", _boxes(name, value, _formats(named), found), _label(beside))


def _add(
    found: _Found,
    kind: Kind,
    every: Iterator[_Points],
    label: str,
) -> None:
    for points in every:
        found.add(kind, points, label)
        if found.is_full:
            return


def _boxes(name: str, value: object, beside: Mapping[str, Any], found: _Found) -> Iterator[_Points]:
    """Yield the one place that a box is, whichever way it is written."""
    if isinstance(value, dict):
        if (own := _of_sides({_plain(key): one for key, one in value.items()})) is not None:
            yield own
        return
    numbers = _numbers(value, 4)
    if numbers is None:
        yield from _outlines(value, found, least=_OPPOSITE)
        return
    a, b, c, d = numbers
    if name == "xywh" or (name != "xyxy" and _is_size(numbers, beside)):
        c, d = a + c, b + d
    if (box := _rectangle(a, b, c, d)) is not None:
        yield box


def _is_size(numbers: Sequence[float], beside: Mapping[str, Any]) -> bool:
    """Tell whether the last two of a box's numbers are its size, and not its other corner."""
    said = " ".join(str(one) for one in _formats(beside).values() if isinstance(one, str)).lower()
    if "xywh" in said or "coco" in said:
        return True
    if "xyxy" in said or "voc" in said:
        return False
    x, y, c, d = numbers
    area = _number(beside.get("area"))
    if area and math.isclose(area, c * d, rel_tol=0.01):
        return True
    return c <= x or d <= y


def _formats(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a result says of how its boxes are written."""
    names = ("format", "boxformat", "bboxformat", "bboxmode", "boxmode")
    return {name: named[name] for name in names if name in named}


def _outlines(value: object, found: _Found, *, least: int = 3) -> Iterator[_Points]:
    """Yield the place that a list of points is, or each of a list of those."""
    if isinstance(value, dict):
        named = {_plain(key): one for key, one in value.items()}
        value = [named[name] for name in _CORNERS if name in named]
    if not isinstance(value, list) or not value:
        return
    points = _points(value)
    if points is not None:
        if len(points) == least == _OPPOSITE:
            box = _rectangle(*points[0], *points[1])
            points = box if box is not None else _Points([])
        if len(points) >= max(1, least):
            yield points
        return
    are_places = False
    for one in value[:MOST_SHAPES]:
        inner = _points(one) if isinstance(one, list) else None
        if inner is not None and len(inner) >= least:
            are_places = True
            yield inner
    if are_places:
        found.places_left_out += max(0, len(value) - MOST_SHAPES)


def _points(value: list[Any]) -> _Points | None:
    """Return a list as points; ``None`` for one that is none."""
    flat = _numbers(value)
    if flat is not None:
        if len(flat) % 2 or len(flat) < _FEWEST_FLAT:
            return None
        return _Points(zip(flat[::2], flat[1::2], strict=True), len(value) // 2)
    found = []
    for one in value[:MOST_POINTS]:
        point = _point(one)
        if point is None:
            return None
        found.append(point)
    return _Points(found, len(value)) if found else None


def _point(value: object) -> Point | None:
    if isinstance(value, dict):
        named = {_plain(key): one for key, one in value.items()}
        x, y = _number(named.get("x")), _number(named.get("y"))
    elif isinstance(value, list) and len(value) in {2, 3}:  # a third one is how sure it is
        x, y = _number(value[0]), _number(value[1])
    else:
        return None
    return None if x is None or y is None else (x, y)


def _of_sides(named: Mapping[str, Any]) -> _Points | None:
    """Return the rectangle that an object is by the names of its sides."""
    for names in _SIDES:
        sides = [_number(named.get(name)) for name in names]
        if None not in sides:
            a, b, c, d = (side for side in sides if side is not None)
            return _rectangle(a, b, c, d)
    for names in _SIZES:
        sides = [_number(named.get(name)) for name in names]
        if None not in sides:
            a, b, c, d = (side for side in sides if side is not None)
            return _rectangle(a, b, a + c, b + d)
    return None


def _rectangle(left: float, top: float, right: float, bottom: float) -> _Points | None:
    if right < left or bottom < top:
        return None
    return _Points([(left, top), (right, top), (right, bottom), (left, bottom)])


def _numbers(value: object, count: int | None = None) -> list[float] | None:
    """Return a list of numbers; ``None`` for one that has anything else, or not so many."""
    if not isinstance(value, list) or not value or (count is not None and len(value) != count):
        return None
    found = []
    for one in value[: 2 * MOST_POINTS]:
        number = _number(one)
        if number is None:
            return None
        found.append(number)
    return found


def _number(value: object) -> float | None:
    number = finite(value)
    return number if number is not None and abs(number) <= _FARTHEST else None


def _label(named: Mapping[str, Any]) -> str:
    """Return what is said of a place by what stands beside it."""
    words = next((str(named[name]) for name in _LABELS if _is_word(named.get(name))), "")
    score = next((s for name in _SCORES if (s := _number(named.get(name))) is not None), None)
    if score is not None:
        told = f"{score:.0%}" if 0 <= score <= 1 else f"{score:g}"
        words = f"{words} {told}".strip()
    return cut_end(words, _MOST_LABEL_BYTES)


def _is_word(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return abs(value) <= _FARTHEST
    return isinstance(value, str) and bool(value.strip())


def _plain(name: object) -> str:
    """Return a name without what is written in many ways: bounding_box, boundingBox."""
    return str(name)[:40].lower().replace("_", "").replace("-", "")


def _size(result: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = _number(result.get("width")), _number(result.get("height"))
    if not width or not height or width < 1 or height < 1:
        return None
    return int(width), int(height)
