"""Tables and columns of pandas, polars and pyarrow, with what would get lost on the way.

Asked by ``forms``, in the cell. A table becomes {"columns": [names], "rows": [[cells]]}, each
cell by its own type. What JSON would lose is refused, with what to write instead.
"""

from __future__ import annotations

from .formless import NotJsonError

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
    columns = [cells(frame.iloc[:, number]) for number in range(len(names))]
    return table_of(names, columns, len(frame))


def of_series(series: Any, place: str) -> list[Any]:
    """Return a pandas ``Series``; its index has to be the numbers of its rows."""
    if has_meaning(series.index):
        message = (
            f"the index of {place}{named(series.index)} would be lost; write series.to_dict() to "
            "have it as keys, or series.tolist() to leave it out"
        )
        raise NotJsonError(message)
    return cells(series)


def cells(column: Any) -> list[Any]:
    """Return what is in a column of pandas, with None for what is missing."""
    return of_extension(column, "") if column.hasnans else list(column.tolist())


def of_index(index: Any, _place: str) -> list[Any]:
    """Return an index of pandas by itself."""
    return list(index.tolist()) if index.nlevels > 1 else cells(index)


def of_extension(array: Any, _place: str) -> list[Any]:
    """Return an array of pandas' own, such as a ``Categorical``."""
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
    kind = str(series.dtype)
    is_finer = kind == "Time" or (kind.startswith(("Datetime", "Duration")) and "'ns'" in kind)
    if is_finer and any(count is not None and count % 1000 for count in ticks(series)):
        message = (
            f"{place} has times with nanoseconds, which would be lost; cast it, "
            "series.dt.cast_time_unit('us'), or write it as text, series.cast(polars.String)"
        )
        raise NotJsonError(message)
    return list(series.to_list())


def ticks(series: Any) -> list[Any]:
    """Return times as polars keeps them."""
    return list(series.to_physical().to_list())


def of_arrow(table: Any, place: str) -> Table:
    """Return a ``Table`` or ``RecordBatch`` of pyarrow."""
    names = list(table.schema.names)
    check_names(names, place, "table.rename_columns([...]) with other names")
    return table_of(names, [column.to_pylist() for column in table.columns], table.num_rows)


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
    ("pyarrow", "Array"): lambda array, _place: array.to_pylist(),
    ("pyarrow", "ChunkedArray"): lambda array, _place: array.to_pylist(),
    ("pyarrow", "Scalar"): lambda scalar, _place: scalar.as_py(),
}
