"""Tables and columns of pandas, polars and pyarrow, with what would get lost on the way.

Asked by ``forms``, in the cell. A table becomes {"columns": [names], "rows": [[cells]]}, each
cell by its own type. What JSON would lose is refused, with what to write instead.
"""

from __future__ import annotations

from .formless import NotJsonError
from .nanoseconds import check_arrow, check_polars

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Table:
    """Columns by name, and rows of cells that are not converted yet."""

    __slots__ = ("columns", "rows")

    def __init__(self, columns: list[Any], rows: list[Any]) -> None:
        self.columns = columns
        self.rows = rows


def table_of(names: list[Any], columns: list[Any], count: int) -> Table:
    """Return a table of ``count`` rows from its columns."""
    rows = list(zip(*columns, strict=True)) if columns else [()] * count
    return Table(names, rows)


def of_pandas(frame: Any, place: str) -> Table:
    """Return a ``DataFrame``; its index has to be the numbers of its rows."""
    names = frame.columns.tolist()
    if frame.columns.nlevels > 1:
        message = (
            f"the columns of {place} have names of several levels, which a table of JSON has not; "
            'write frame.columns = ["_".join(map(str, names)) for names in frame.columns]'
        )
        raise NotJsonError(message)
    for name in names:
        if type(name) not in {str, int}:
            message = (
                f"{place} has a column named {name!r:.80} of type {type(name).__name__}; names of "
                "columns are strings: write frame.columns = [str(name) for name in frame.columns]"
            )
            raise NotJsonError(message)
    check_names(names, place, "frame.columns = [...] with other names")
    if has_meaning(frame.index):
        message = (
            f"the index of {place}{named(frame.index)} would be lost; write frame.reset_index() to "
            "have it as a column, or frame.reset_index(drop=True) to leave it out"
        )
        raise NotJsonError(message)
    columns = [
        cells(frame.iloc[:, number], f"{place}, column {name!r:.80}")
        for number, name in enumerate(names)
    ]
    return table_of(names, columns, len(frame))


def of_series(series: Any, place: str) -> list[Any]:
    """Return a pandas ``Series``; its index has to be the numbers of its rows."""
    if has_meaning(series.index):
        message = (
            f"the index of {place}{named(series.index)} would be lost; write series.to_dict() to "
            "have it as keys, or series.tolist() to leave it out"
        )
        raise NotJsonError(message)
    return cells(series, place)


def cells(column: Any, place: str) -> list[Any]:
    """Return what is in a column of pandas, with None for what is missing."""
    if column.hasnans:
        return of_extension(column, place)
    check_pandas(column, place)
    return list(column.tolist())


def check_pandas(column: Any, place: str) -> None:
    """Raise ``NotJsonError`` for a column that is one of pyarrow's and has nanoseconds."""
    if hasattr(column.dtype, "pyarrow_dtype"):
        array = getattr(column, "array", column)  # a column's own, or it is one itself
        check_arrow(array.__arrow_array__(), place)
    elif hasattr(column.dtype, "categories"):
        check_pandas(column.dtype.categories, place)


def of_index(index: Any, place: str) -> list[Any]:
    """Return an index of pandas by itself."""
    if not hasattr(index, "levels"):
        return cells(index, place)
    for level in index.levels:
        check_pandas(level, place)
    return list(index.tolist())


def of_extension(array: Any, place: str) -> list[Any]:
    """Return an array of pandas' own, such as a ``Categorical``."""
    check_pandas(array, place)
    both = zip(array.tolist(), array.isna().tolist(), strict=True)
    return [None if is_missing else value for value, is_missing in both]


def has_meaning(index: Any) -> bool:
    """Tell whether an index is more than the numbers of the rows."""
    if any(name is not None for name in index.names):
        return True
    if type(index).__name__ == "RangeIndex" and (index.start, index.step) == (0, 1):
        return False
    values = index.tolist()
    return any(type(value) is not int for value in values) or values != list(range(len(values)))


def named(index: Any) -> str:
    """Return how an index is called, or what it begins with."""
    names = [str(name) for name in index.names if name is not None]
    if names:
        return f" ({', '.join(names)})"[:200]
    begins = ", ".join(f"{value!r:.40}" for value in index[:3].tolist())
    return f" ({begins}, …)" if len(index) > 3 else f" ({begins})"


def check_names(names: list[Any], place: str, instead: str) -> None:
    """Refuse a table that has two columns of one name."""
    known: set[Any] = set()
    for name in names:
        if name in known:
            message = (
                f"{place} has two columns named {name!r:.80}, so callers could not tell them "
                f"apart; write {instead}"
            )
            raise NotJsonError(message)
        known.add(name)


def of_polars(frame: Any, place: str) -> Table:
    """Return a ``DataFrame`` of polars."""
    names = list(frame.columns)
    columns = [of_polars_series(frame[name], f"{place}, column {name!r:.80}") for name in names]
    return table_of(names, columns, frame.height)


def of_polars_series(series: Any, place: str) -> list[Any]:
    """Return a ``Series`` of polars; Python's own times have no nanoseconds."""
    check_polars(series, place)
    return list(series.to_list())


def of_arrow(table: Any, place: str) -> Table:
    """Return a ``Table`` or ``RecordBatch`` of pyarrow."""
    names = list(table.schema.names)
    check_names(names, place, "table.rename_columns([...]) with other names")
    columns = [
        of_arrow_array(column, f"{place}, column {name!r:.80}")
        for name, column in zip(names, table.columns, strict=True)
    ]
    return table_of(names, columns, table.num_rows)


def of_arrow_array(array: Any, place: str) -> list[Any]:
    """Return an ``Array`` or ``ChunkedArray`` of pyarrow."""
    check_arrow(array, place)
    return list(array.to_pylist())


def of_arrow_scalar(scalar: Any, place: str) -> Any:
    """Return a ``Scalar`` of pyarrow."""
    check_arrow(scalar, place)
    return scalar.as_py()


# By (library, name).
FORMS: dict[tuple[str, str], Callable[[Any, str], Any]] = {
    ("pandas", "DataFrame"): of_pandas,
    ("pandas", "Series"): of_series,
    ("pandas", "Index"): of_index,
    ("pandas", "ExtensionArray"): of_extension,
    ("polars", "DataFrame"): of_polars,
    ("polars", "Series"): of_polars_series,
    ("pyarrow", "Table"): of_arrow,
    ("pyarrow", "RecordBatch"): of_arrow,
    ("pyarrow", "Array"): of_arrow_array,
    ("pyarrow", "ChunkedArray"): of_arrow_array,
    ("pyarrow", "Scalar"): of_arrow_scalar,
}
