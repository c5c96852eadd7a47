"""Tables of pandas, polars and pyarrow, and what ``jsonable`` makes of them, as one JSON object.

Run by ``test_tables.py`` with the Python of ``.venv-libraries``: ``tables.py FOLDER``. The folder
is ``sandbox/inside``, loaded as a box loads it.
"""

from __future__ import annotations

import datetime
import decimal
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

package = type(sys)("toolrunner_inside")
package.__path__ = [sys.argv[1]]
sys.modules[package.__name__] = package
from toolrunner_inside import jsonable  # type: ignore[import-not-found]  # noqa: E402 - made above

DAY = datetime.date(2026, 1, 31)
NOON = datetime.datetime(2026, 1, 31, 12)  # noqa: DTZ001 - as most tables have them
SALES = pd.DataFrame({"region": ["north", "south", "north"], "sold": [3, 5, 4]})
TYPES = {
    "number": [1, None],
    "part": [0.5, None],
    "word": ["a", None],
    "day": [DAY, None],
    "time": [NOON, None],
    "took": [datetime.timedelta(seconds=90), None],
    "price": [decimal.Decimal("1.10"), None],
    "raw": [b"raw", None],
    "list": [[1, 2], None],
    "is_it": [True, None],
}
TICKS = [1, 1000]
TIME = pa.time64("ns")
FINE = pa.array(TICKS, TIME)

CASES: dict[str, Callable[[], Any]] = {
    "pandas table": lambda: pd.DataFrame(
        {
            "whole": [1, 2],
            "part": [0.5, None],
            "word": ["a", None],
            "mixed": [1, "b"],
            "time": pd.to_datetime(["2026-01-31T12:00:00.000000001", None]),
            "took": pd.to_timedelta([90, None], unit="s"),
            "kind": pd.Categorical(["u", None]),
            "missing": pd.array([1, None], dtype="Int64"),
            "is_it": pd.array([True, None], dtype="boolean"),
            "list": [[np.int8(1)], None],
            "month": pd.PeriodIndex(["2026-01", None], freq="M"),
            "wide": np.array([0.5, 2], dtype="longdouble"),
        }
    ),
    "pandas arrow types": lambda: pd.DataFrame(TYPES).convert_dtypes(dtype_backend="pyarrow"),
    "pandas numbers as names": lambda: pd.DataFrame([[1, 2]]),
    "pandas empty": pd.DataFrame,
    "pandas filtered to nothing": lambda: SALES[SALES.sold > 9],
    "pandas rows without columns": lambda: pd.DataFrame(index=range(2)),
    "pandas numbers of rows as an index": lambda: pd.DataFrame({"a": [1, 2]}, index=[0, 1]),
    "pandas series": lambda: pd.Series([1, None], dtype="Int64"),
    "pandas index": lambda: SALES.columns,
    "pandas categorical": lambda: pd.Categorical(["u", None]),
    "pandas nothing": lambda: [pd.NA, pd.NaT, pd.Timestamp(NOON), pd.Timedelta(90, "s")],
    "pandas reset index": lambda: SALES.groupby("region").sum().reset_index(),
    "polars table": lambda: pl.DataFrame({**TYPES, "object": [{"a": 1.5}, None]}),
    "polars microseconds": lambda: pl.DataFrame(
        {"at": pl.Series(TICKS[1:]).cast(pl.Datetime("ns"))}
    ),
    "polars series": lambda: pl.Series([1, None]),
    "polars empty": pl.DataFrame,
    "pyarrow table": lambda: pa.table(TYPES),
    "pyarrow batch": lambda: pa.RecordBatch.from_pydict({"a": [1, None]}),
    "pyarrow nanoseconds": lambda: pa.table({"at": pa.array(TICKS, pa.timestamp("ns"))}),
    "pyarrow column": lambda: pa.chunked_array([[1], [None]]),
    "pyarrow cell": lambda: pa.scalar(NOON),
    "polars nested microseconds": lambda: pl.Series([[2000], [], None]).cast(
        pl.List(pl.Datetime("ns"))
    ),
    "pyarrow nested microseconds": lambda: pa.array([[1000], [], None], pa.list_(TIME)),
    "pandas long": lambda: pd.Series(np.array([2**62], "m8[s]")),
    # What would get lost.
    "pandas named index": lambda: SALES.set_index("region"),
    "pandas filtered": lambda: SALES[SALES.sold > 3],
    "pandas sorted": lambda: SALES.sort_values("sold", ascending=False),
    "pandas grouped": lambda: SALES.groupby("region").sum(),
    "pandas several levels": lambda: SALES.groupby(["region", "sold"]).agg(
        {"sold": ["sum", "mean"]}
    ),
    "pandas yes and no as an index": lambda: pd.DataFrame({"a": [1, 2]}, index=[False, True]),
    "pandas column twice": lambda: pd.concat([SALES[["sold"]], SALES[["sold"]]], axis=1),
    "pandas column of a day": lambda: pd.DataFrame({pd.Timestamp(NOON): [1]}),
    "pandas counted": SALES.region.value_counts,
    "pandas infinite": lambda: pd.DataFrame({"a": [1.0, float("inf")]}),
    "pandas groups": lambda: SALES[["region", "sold"]].groupby("region"),
    "pandas cell": lambda: pd.DataFrame({"a": [1j]}),
    "polars nanoseconds": lambda: pl.DataFrame({"at": pl.Series(TICKS).cast(pl.Datetime("ns"))}),
    "polars nested nanoseconds": lambda: pl.DataFrame(
        {"at": pl.Series([TICKS]).cast(pl.List(pl.Datetime("ns")))}
    ),
    "polars array of times": lambda: pl.Series([TICKS]).cast(pl.Array(pl.Time, 2)),
    "polars object of nanoseconds": lambda: pl.Series([{"a": [{"b": 1}]}]).cast(
        pl.Struct({"a": pl.List(pl.Struct({"b": pl.Duration("ns")}))})
    ),
    "polars not a number": lambda: pl.DataFrame({"a": [1.0, float("nan")]}),
    "polars lazy": lambda: pl.DataFrame({"a": [1]}).lazy(),
    "pyarrow column twice": lambda: pa.Table.from_arrays([pa.array([1])] * 2, ["a", "a"]),
    "pyarrow times": lambda: pa.table({"at": FINE}),
    "pyarrow batch of times": lambda: pa.RecordBatch.from_arrays([FINE], ["at"]),
    "pyarrow column of times": lambda: pa.chunked_array([[1000], [1]], TIME),
    "pyarrow cell of a time": lambda: pa.scalar(1, TIME),
    "pyarrow object in a cell": lambda: pa.scalar({"a": 1}, pa.struct([("a", TIME)])),
    "pyarrow list of times": lambda: pa.array([TICKS], pa.list_(TIME)),
    "pyarrow map of times": lambda: pa.array([[("k", 1)]], pa.map_(pa.string(), TIME)),
    "pyarrow words for times": FINE.dictionary_encode,
    "pyarrow runs of times": lambda: pa.RunEndEncodedArray.from_arrays([1, 2], FINE),
    "pyarrow either": lambda: pa.UnionArray.from_sparse(pa.array([0, 0], pa.int8()), [FINE]),
    "pandas arrow times": lambda: pd.DataFrame({"at": pd.array(TICKS, pd.ArrowDtype(TIME))}),
    "pandas arrow times, one missing": lambda: pd.Series([1, None], dtype=pd.ArrowDtype(TIME)),
    "pandas arrow list of times": lambda: pd.Series([TICKS], dtype=pd.ArrowDtype(pa.list_(TIME))),
    "pandas index of times": lambda: pd.Index(TICKS, dtype=pd.ArrowDtype(TIME)),
    "pandas levels of times": lambda: pd.MultiIndex.from_arrays(
        [pd.array(TICKS, pd.ArrowDtype(TIME))]
    ),
    "pandas array of times": lambda: pd.array(TICKS, pd.ArrowDtype(TIME)),
    "pandas categories of times": lambda: pd.Categorical(pd.array(TICKS, pd.ArrowDtype(TIME))),
    "pyarrow not a number": lambda: pa.table({"a": [float("nan")]}),
}


def answer(make: Callable[[], Any]) -> Any:
    """Return what a caller gets for a value in a result, or what is said of it."""
    try:
        return json.loads(jsonable.encode({"found": make()}))["found"]
    except jsonable.NotJsonError as error:
        return str(error)


print(json.dumps({name: answer(make) for name, make in CASES.items()}))
