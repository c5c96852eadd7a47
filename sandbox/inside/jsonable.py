"""Turns what a plugin returned into strict JSON text, or says what stands in the way and where.

Runs in the cell. What a value becomes is decided by ``forms`` and ``tables``; here it is walked
through, and each error gets its place. The parent checks the text again with code of its own:
nothing that runs beside a plugin can be believed.
"""

from __future__ import annotations

import json
import math
import sys

from . import formless, forms
from .formless import NotJsonError
from .tables import Table

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Attach = Callable[[Any, str], object]

__all__ = ["Encoded", "NotJsonError", "encode"]

MAX_DEPTH = 100
_PLAIN = frozenset({str, int, bool, type(None)})
_LONGEST_PLACE = 300


class Encoded:
    """A result that is JSON text already, as a program has written it."""

    def __init__(self, text: bytes) -> None:
        self.text = text


def encode(value: object, attach: Attach | None = None) -> bytes:
    """Return ``value`` as JSON text in UTF-8; raise ``NotJsonError`` saying what is wrong.

    ``attach``: is asked first about each object that is no plain value, with its place, and
    returns what stands for it in the result, or ``None``.
    """
    if type(value) is Encoded:
        return value.text
    try:
        plain = Walk(attach).plain(value, "result", 0)
    except NotJsonError:
        # The error says it, with the place: Python's warning would have a line of ours.
        formless.close_coroutines(value)
        raise
    if type(plain) is not dict:
        raise NotJsonError(formless.no_object(value, plain))
    try:
        return json.dumps(plain, ensure_ascii=False, allow_nan=False, check_circular=False).encode()
    except ValueError as error:  # a UnicodeEncodeError is one
        raise NotJsonError(refused(plain, error)) from None


class Walk:
    """One way through a result."""

    def __init__(self, attach: Attach | None) -> None:
        self._attach = attach
        self._above: set[int] = set()
        self._forms: dict[type, Callable[[Any, str], Any]] = {}

    def plain(self, value: Any, place: str, depth: int) -> object:
        """Return ``value`` built of dict, list, str, int, float, bool and None alone."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is float:
            if not math.isfinite(value):
                message = f"is {value}, which JSON cannot carry; return None or a string"
                raise NotJsonError(f"{short(place)} {message}")
            return value
        if depth >= MAX_DEPTH:
            raise NotJsonError(f"{short(place)} is {formless.too_deep(MAX_DEPTH)}")
        if id(value) in self._above:
            raise NotJsonError(f"{short(place)} {formless.HAS_ITSELF}")
        self._above.add(id(value))
        try:
            return self._taken_apart(value, place, depth)
        except (NotJsonError, MemoryError, OSError):
            raise  # the last two are a limit's
        except RecursionError:
            message = f"{short(place)} {formless.ENDLESS}"
            raise NotJsonError(message) from None
        except Exception as error:  # noqa: BLE001 - a plugin's own code raises anything
            raise NotJsonError(formless.failed(value, short(place), error)) from None
        finally:
            self._above.discard(id(value))

    def _taken_apart(self, value: Any, place: str, depth: int) -> object:
        kind = type(value)
        if kind is dict:
            return self._object(value.items(), place, depth)
        if kind is list or kind is tuple:
            return self._array(value, place, depth)
        if self._attach is not None:
            reference = self._attach(value, short(place))
            if reference is not None:
                return reference
        form = self._forms.get(kind)
        if form is None:
            form = self._forms[kind] = forms.form_of(kind)
        simple = form(value, short(place))
        if type(simple) is Table:
            return self._table(simple, place, depth)
        return self.plain(simple, place, depth)

    def _object(self, items: Any, place: str, depth: int) -> dict[str, object]:
        """Return a dict with string keys alone; an enum or NumPy string counts as its string."""
        plain: dict[str, object] = {}
        for key, item in items:
            if not isinstance(key, str):
                raise NotJsonError(formless.no_key(key, short(place)))
            name = str.__str__(key)
            if name in plain:
                raise NotJsonError(f"{short(place)} {formless.twice(name)}")
            kind = type(item)
            if kind in _PLAIN:
                plain[name] = item
            else:
                plain[name] = self.plain(item, f"{place}[{name!r:.80}]", depth + 1)
        return plain

    def _array(self, items: Any, place: str, depth: int) -> list[object]:
        return [
            item
            if (kind := type(item)) in _PLAIN or (kind is float and math.isfinite(item))
            else self.plain(item, f"{place}[{number}]", depth + 1)
            for number, item in enumerate(items)
        ]

    def _table(self, table: Table, place: str, depth: int) -> dict[str, object]:
        """Return a table as an object; the place of a cell is its row and its column's name."""
        names = table.columns
        for name in names:
            if type(name) is not str and type(name) is not int:
                raise NotJsonError(formless.no_column(name, short(place)))
        rows = [
            [
                item
                if (kind := type(item)) in _PLAIN or (kind is float and math.isfinite(item))
                else self.plain(item, f"{place}, row {number}, column {names[i]!r:.80}", depth + 3)
                for i, item in enumerate(row)
            ]
            for number, row in enumerate(table.rows)
        ]
        return {"columns": names, "rows": rows}


def short(place: str) -> str:
    """Return a place that leaves room in a message for the rest."""
    if len(place) <= _LONGEST_PLACE:
        return place
    return f"{place[: _LONGEST_PLACE // 2]}…{place[-_LONGEST_PLACE // 2 :]}"


def refused(plain: object, error: ValueError) -> str:
    """Return why plain values have no JSON text, with the place of the first one that has none."""
    for value, place in leaves(plain, "result"):
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as lone:
                found = value[lone.start]
                return f"{short(place)} {formless.surrogate(found)}"
        else:
            try:
                str(value)
            except ValueError:
                return f"{short(place)} {formless.too_long(sys.get_int_max_str_digits())}"
    return f"the result has a value without a JSON form: {error}"


def leaves(plain: object, place: str) -> Iterator[tuple[object, str]]:
    """Yield keys, strings and numbers with their places."""
    if isinstance(plain, dict):
        for key, value in plain.items():
            yield key, f"a key of {place}"
            yield from leaves(value, f"{place}[{key!a:.80}]")
    elif isinstance(plain, list):
        for number, value in enumerate(plain):
            yield from leaves(value, f"{place}[{number}]")
    else:
        yield plain, place
