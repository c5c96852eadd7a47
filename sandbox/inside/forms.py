"""What values that are no plain JSON become: one step nearer to it, by what they offer.

Asked by ``jsonable``, in the cell. Known types are recognised by their names and attributes, so
that no library is imported for a plugin that does not use it. ``tables`` has those of columns.
"""

from __future__ import annotations

import base64
import math
import os
import sys

from . import formless, tables
from .formless import NotJsonError
from .tables import Table

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MICROSECONDS, _NANOSECONDS = 10**6, 10**9
# Units of NumPy that are a number of seconds, or of which a second has a number.
_SECONDS = {"W": 604800, "D": 86400, "h": 3600, "m": 60, "s": 1}
_IN_A_SECOND = dict(
    zip(("ms", "us", "ns", "ps", "fs", "as"), (1000**n for n in range(1, 7)), strict=True)
)
_NOT_A_TIME = -(2**63)


def form_of(kind: type) -> Callable[[Any, str], Any]:
    """Return what brings values of a type one step nearer to JSON.

    It is given a value and its place, and raises ``NotJsonError`` for one that has no form.
    """
    if issubclass(kind, int | float | str):
        return of_scalar
    names = formless.names_of(kind)
    return next((form for known, form in _BY_NAME.items() if known in names), by_what_it_offers)


def by_what_it_offers(value: Any, place: str) -> Any:
    """Return a value one step nearer to JSON, by what it is derived from and has."""
    simple = of_builtin(value)
    simple = of_record(value) if simple is value else simple
    simple = of_array(value, place) if simple is value else simple
    return refuse(value, place) if simple is value else simple


def refuse(value: Any, place: str) -> Any:
    """Say that a value has no form."""
    raise NotJsonError(formless.no_form(value, place))


def of_scalar(value: float | str, _place: str = "") -> float | str:
    """Return a number or text of a type of its own as what it is of JSON's."""
    if isinstance(value, str):
        return str.__str__(value)
    return int(value) if isinstance(value, int) else float(value)


def of_builtin(value: Any) -> Any:
    """Return the JSON-near form of a type of the standard library, or the value itself."""
    if isinstance(value, int | float | str):  # what only says that it is one, such as a proxy
        return of_scalar(value)
    if isinstance(value, dict):
        return dict(value.items())
    if isinstance(value, tuple) and hasattr(type(value), "_fields"):  # a namedtuple
        fields: Any = value
        return dict(zip(fields._fields, fields, strict=True))
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode("ascii")
    if isinstance(value, set | frozenset):
        return in_order(value)
    if hasattr(value, "value") and hasattr(type(value), "__members__"):  # an enum
        return value.value
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    return value


def in_order(value: Any) -> list[Any]:
    """Return a set as a list: an order of its own for each run would make equal results differ."""
    if all(type(item) in {int, float} for item in value):
        return sorted(value)
    return sorted(value, key=repr)


def of_record(value: Any) -> Any:
    """Return an object with named fields as a dict of these, any other as it is."""
    kind: Any = type(value)
    if hasattr(kind, "__dataclass_fields__"):
        fields = sys.modules["dataclasses"].fields(value)  # without what is no field of objects
        return {field.name: getattr(value, field.name) for field in fields}
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name) for field in kind.__attrs_attrs__}
    if callable(getattr(kind, "model_dump", None)):  # pydantic 2
        return value.model_dump()
    if hasattr(kind, "__fields__") and callable(getattr(kind, "dict", None)):  # pydantic 1
        fields = value.dict()
        return fields["__root__"] if list(fields) == ["__root__"] else fields
    if hasattr(kind, "__struct_fields__"):  # msgspec
        return {name: getattr(value, name) for name in kind.__struct_fields__}
    return value


def of_array(value: Any, place: str) -> Any:
    """Return an array or a scalar of NumPy or of its kin as lists, any other value as it is."""
    kind: Any = type(value)
    if not (hasattr(kind, "__array_interface__") or hasattr(kind, "__array__")):
        return value
    if not hasattr(kind, "tolist"):
        value = value.__array__()
    dtype: Any = getattr(value, "dtype", None)
    if not any(one.__module__.startswith("numpy") for one in type(dtype).__mro__):
        return value.tolist()  # PyTorch's, which know their types as well
    if dtype.names:
        return of_fields(value)
    if dtype.kind == "M":
        return mapped(value.astype(str).tolist(), lambda text: None if text == "NaT" else text)
    if dtype.kind == "m":
        return of_durations(value, place)
    if dtype.kind == "f" and dtype.itemsize > 8 and not value.shape:
        return of_long_double(value, place)
    if dtype.kind == "c" and not value.shape:
        return refuse(value, place)
    return value.tolist()


def of_fields(value: Any) -> Any:
    """Return a NumPy array whose items have fields as a table, one item of it as a dict."""
    names = list(value.dtype.names)
    if not value.shape:
        return {name: value[name] for name in names}
    if len(value.shape) > 1:
        return list(value)
    return Table(names, [[row[name] for name in names] for row in value])


def of_durations(value: Any, place: str) -> Any:
    """Return NumPy's durations as texts; ``NotJsonError`` for those of no fixed length."""
    unit, step = sys.modules["numpy"].datetime_data(value.dtype)
    step *= _SECONDS.get(unit, 1)

    def text(count: int | None) -> str | None:
        if count is None or count == _NOT_A_TIME:  # masked, or missing
            return None
        if unit not in _SECONDS and unit not in _IN_A_SECOND:
            message = (
                f"{place} is a numpy.timedelta64 of the unit {unit!r}, which is no certain time; "
                "return value.astype(int), and say the unit in its name"
            )
            raise NotJsonError(message)
        # By Python's own numbers: those of NumPy wrap, in nanoseconds beyond 292 years.
        return duration(count * step, _IN_A_SECOND.get(unit, 1))

    return mapped(value.astype("int64").tolist(), text)


def mapped(values: Any, change: Callable[[Any], Any]) -> Any:
    """Return nested lists with each value in them changed."""
    if isinstance(values, list):
        return [mapped(one, change) for one in values]
    return change(values)


def of_long_double(value: Any, place: str) -> float:
    """Return the nearest number that every reader of JSON knows."""
    nearest = float(value)
    if math.isinf(nearest) and not sys.modules["numpy"].isinf(value):
        message = f"{place} is {value!s}, too large for a number of JSON; return str(value)"
        raise NotJsonError(message)
    return nearest


def of_duration(value: Any, _place: str) -> str:
    """Return a ``timedelta``, or what is derived from it, as ISO 8601 has it."""
    microseconds = (value.days * 86400 + value.seconds) * _MICROSECONDS + value.microseconds
    return duration(microseconds * 1000 + getattr(value, "nanoseconds", 0), _NANOSECONDS)


def duration(count: int, in_a_second: int) -> str:
    """Return a time span as ISO 8601 has it, such as P1DT2H3M4.5S.

    ``in_a_second``: how many of what is counted make one, a power of ten.
    """
    sign = "-" if count < 0 else ""
    seconds, rest = divmod(abs(count), in_a_second)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    digits = len(str(in_a_second)) - 1
    fraction = f".{rest:0{digits}}".rstrip("0") if rest else ""
    return f"{sign}P{days}DT{hours}H{minutes}M{seconds}{fraction}S"


def of_decimal(value: Any, place: str) -> str:
    """Return a ``Decimal`` with all its digits, which a number of JSON would not keep."""
    if not value.is_finite():
        message = f"{place} is Decimal('{value}'), which is no number; return None or a string"
        raise NotJsonError(message)
    return str(value)


def nothing(_value: Any, _place: str) -> None:
    """Return what stands for a missing value."""


def as_text(value: Any, _place: str) -> str:
    """Return what a value calls itself."""
    return str(value)


def as_iso(value: Any, _place: str) -> str:
    """Return a date or time as ISO 8601 has it."""
    return str(value.isoformat())


# The first that is found decides: pandas' missing time is a datetime as well.
_BY_NAME: dict[tuple[str, str], Callable[[Any, str], Any]] = {
    **tables.FORMS,
    ("pandas", "NaTType"): nothing,
    ("pandas", "NAType"): nothing,
    ("datetime", "datetime"): as_iso,
    ("datetime", "date"): as_iso,
    ("datetime", "time"): as_iso,
    ("datetime", "timedelta"): of_duration,
    ("datetime", "tzinfo"): as_text,
    ("decimal", "Decimal"): of_decimal,
    ("uuid", "UUID"): as_text,
    ("pandas", "Period"): as_text,
    ("pandas", "Interval"): as_text,
    ("PIL", "Image"): refuse,  # which would be millions of numbers
}
