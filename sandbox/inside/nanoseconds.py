"""Times of columns that are finer than Python's own, whose nanoseconds would be lost on the way.

Asked by ``tables``, in the cell. Of polars that are all times with nanoseconds, of pyarrow, whose
dates and durations become pandas', times of a day alone. Where a type holds others, these are
looked at too.
"""

from __future__ import annotations

import sys

from .formless import NotJsonError

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any

_OF_ARROW = "time64[ns]"


def check_polars(series: Any, place: str) -> None:
    """Raise ``NotJsonError`` for a ``Series`` that has nanoseconds."""
    if not hasattr(series.dtype, "inner") and not hasattr(series.dtype, "fields"):
        if are_finer_polars(series):
            message = (
                f"{place} has times with nanoseconds, which would be lost; cast it, "
                "series.dt.cast_time_unit('us'), or write it as text, series.cast(polars.String)"
            )
            raise NotJsonError(message)
    elif have_finer_polars(series):
        message = (
            f"{place} has times with nanoseconds in its lists or objects, which would be lost; "
            f"cast it, such as series.cast(polars.List(polars.Datetime('us'))), or "
            "series.cast(polars.List(polars.String)) to keep them"
        )
        raise NotJsonError(message)


def have_finer_polars(series: Any) -> bool:
    """Tell whether there are nanoseconds in a ``Series``, or in what it holds."""
    if hasattr(series.dtype, "fields"):
        names = [field.name for field in series.dtype.fields]
        return any(have_finer_polars(series.struct.field(name)) for name in names)
    if hasattr(series.dtype, "inner"):
        return have_finer_polars(series.explode())
    return are_finer_polars(series)


def are_finer_polars(series: Any) -> bool:
    """Tell whether there are nanoseconds in a ``Series`` that holds no others."""
    kind = str(series.dtype)
    is_fine = kind == "Time" or (kind.startswith(("Datetime", "Duration")) and "'ns'" in kind)
    return is_fine and has_rest(series.to_physical().to_list())


def check_arrow(array: Any, place: str) -> None:
    """Raise ``NotJsonError`` for an array, column or scalar of pyarrow that has nanoseconds."""
    if have_finer_arrow(array):
        message = (
            f"{place} has times with nanoseconds, which would be lost; cast them to "
            "pyarrow.time64('us'), or to pyarrow.string() to keep them"
        )
        raise NotJsonError(message)


def have_finer_arrow(array: Any) -> bool:
    """Tell whether there are nanoseconds in an array, or in what it holds."""
    if hasattr(array, "chunks"):
        return any(have_finer_arrow(chunk) for chunk in array.chunks)
    if hasattr(array, "storage"):  # of an extension, whose type's name says anything
        return have_finer_arrow(array.storage)
    if _OF_ARROW not in str(array.type) and "extension<" not in str(array.type):
        return False
    if hasattr(array, "as_py"):  # a scalar
        array = sys.modules["pyarrow"].array([array], array.type)
        return have_finer_arrow(array)
    if str(array.type) == _OF_ARROW:
        return has_rest(array.cast("int64").to_pylist())
    return any(have_finer_arrow(part) for part in parts_of(array))


def parts_of(array: Any) -> list[Any]:
    """Return the arrays that an array of pyarrow is made of."""
    if hasattr(array, "dictionary_decode"):
        return [array.dictionary_decode()]
    if hasattr(array, "run_ends"):
        return [array.values]
    if hasattr(array, "items"):  # a map
        return [array.keys, array.items]
    if hasattr(array, "field"):  # a struct or a union
        return [array.field(number) for number in range(array.type.num_fields)]
    return [array.flatten()]


def has_rest(ticks: list[Any]) -> bool:
    """Tell whether there is a number of nanoseconds that is no number of microseconds."""
    return any(count is not None and count % 1000 for count in ticks)
