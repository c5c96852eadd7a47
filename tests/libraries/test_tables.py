"""Tables of real libraries in results: what they become, and what is refused with words."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.libraries.conftest import ENVIRONMENT, HERE, ROOT, Service

NAMES = ["number", "part", "word", "day", "time", "took", "price", "raw", "list", "is_it"]
FIRST = [
    1,
    0.5,
    "a",
    "2026-01-31",
    "2026-01-31T12:00:00",
    "P0DT0H1M30S",
    "1.10",
    "cmF3",
    [1, 2],
    True,
]
INDEX = (
    "the index of result['found'] ({}) would be lost; write frame.reset_index() to have it as a "
    "column, or frame.reset_index(drop=True) to leave it out"
)
NO_NUMBER = (
    "result['found'], row {}, column 'a' is {}, which JSON cannot carry; return None or a string"
)
FINE = (
    "result['found'] has times with nanoseconds, which would be lost; cast them to "
    "pyarrow.time64('us'), or to pyarrow.string() to keep them"
)
FINE_COLUMN = FINE.replace("'] ", "'], column 'at' ", 1)
NESTED = (
    "result['found'] has times with nanoseconds in its lists or objects, which would be lost; "
    "cast it, such as series.cast(polars.List(polars.Datetime('us'))), or "
    "series.cast(polars.List(polars.String)) to keep them"
)
FOUND: dict[str, Any] = {
    "pandas table": {
        "columns": [
            "whole",
            "part",
            "word",
            "mixed",
            "time",
            "took",
            "kind",
            "missing",
            "is_it",
            "list",
            "month",
            "wide",
        ],
        "rows": [
            [
                1,
                0.5,
                "a",
                1,
                "2026-01-31T12:00:00.000000001",
                "P0DT0H1M30S",
                "u",
                1,
                True,
                [1],
                "2026-01",
                0.5,
            ],
            [2, None, None, "b", None, None, None, None, None, None, None, 2.0],
        ],
    },
    "pandas arrow types": {"columns": NAMES, "rows": [FIRST, [None] * 10]},
    "pandas numbers as names": {"columns": [0, 1], "rows": [[1, 2]]},
    "pandas empty": {"columns": [], "rows": []},
    "pandas filtered to nothing": {"columns": ["region", "sold"], "rows": []},
    "pandas rows without columns": {"columns": [], "rows": [[], []]},
    "pandas numbers of rows as an index": {"columns": ["a"], "rows": [[1], [2]]},
    "pandas series": [1, None],
    "pandas index": ["region", "sold"],
    "pandas categorical": ["u", None],
    "pandas nothing": [None, None, "2026-01-31T12:00:00", "P0DT0H1M30S"],
    "pandas reset index": {"columns": ["region", "sold"], "rows": [["north", 7], ["south", 5]]},
    "polars table": {"columns": [*NAMES, "object"], "rows": [[*FIRST, {"a": 1.5}], [None] * 11]},
    "polars microseconds": {"columns": ["at"], "rows": [["1970-01-01T00:00:00.000001"]]},
    "polars series": [1, None],
    "polars empty": {"columns": [], "rows": []},
    "pyarrow table": {"columns": NAMES, "rows": [FIRST, [None] * 10]},
    "pyarrow batch": {"columns": ["a"], "rows": [[1], [None]]},
    "pyarrow nanoseconds": {
        "columns": ["at"],
        "rows": [["1970-01-01T00:00:00.000000001"], ["1970-01-01T00:00:00.000001"]],
    },
    "pyarrow column": [1, None],
    "pyarrow cell": "2026-01-31T12:00:00",
    "polars nested microseconds": [["1970-01-01T00:00:00.000002"], [], None],
    "pyarrow nested microseconds": [["00:00:00.000001"], [], None],
    "pandas long": ["P53375995583650DT7H45M4S"],
    "pandas named index": INDEX.format("region"),
    "pandas filtered": INDEX.format("1, 2"),
    "pandas sorted": INDEX.format("1, 2, 0"),
    "pandas grouped": INDEX.format("region"),
    "pandas several levels": (
        "the columns of result['found'] have names of several levels, which a table of "
        'JSON has not; write frame.columns = ["_".join(map(str, names)) for names in '
        "frame.columns]"
    ),
    "pandas yes and no as an index": INDEX.format("False, True"),
    "pandas column twice": (
        "result['found'] has two columns named 'sold', so callers could not tell them "
        "apart; write frame.columns = [...] with other names"
    ),
    "pandas column of a day": (
        "result['found'] has a column named Timestamp('2026-01-31 12:00:00') of type "
        "Timestamp; names of columns are strings: write frame.columns = [str(name) for "
        "name in frame.columns]"
    ),
    "pandas counted": (
        "the index of result['found'] (region) would be lost; write series.to_dict() to "
        "have it as keys, or series.tolist() to leave it out"
    ),
    "pandas infinite": NO_NUMBER.format(1, "inf"),
    "pandas groups": (
        "result['found'] is of type pandas.api.typing.DataFrameGroupBy, which has no "
        "JSON form; return what is computed of it, such as value.sum().reset_index()"
    ),
    "pandas cell": (
        "result['found'], row 0, column 'a' is of type complex, which has no JSON form; "
        "return its parts, such as [value.real, value.imag]"
    ),
    "polars nanoseconds": (
        "result['found'], column 'at' has times with nanoseconds, which would be lost; "
        "cast it, series.dt.cast_time_unit('us'), or write it as text, "
        "series.cast(polars.String)"
    ),
    "polars nested nanoseconds": NESTED.replace("'] ", "'], column 'at' ", 1),
    "polars array of times": NESTED,
    "polars object of nanoseconds": NESTED,
    "polars not a number": NO_NUMBER.format(1, "nan"),
    "polars lazy": (
        "result['found'] is of type polars.lazyframe.frame.LazyFrame, which has no JSON "
        "form; return value.collect()"
    ),
    "pyarrow column twice": (
        "result['found'] has two columns named 'a', so callers could not tell them "
        "apart; write table.rename_columns([...]) with other names"
    ),
    "pyarrow times": FINE_COLUMN,
    "pyarrow batch of times": FINE_COLUMN,
    "pyarrow column of times": FINE,
    "pyarrow cell of a time": FINE,
    "pyarrow object in a cell": FINE,
    "pyarrow list of times": FINE,
    "pyarrow map of times": FINE,
    "pyarrow words for times": FINE,
    "pyarrow runs of times": FINE,
    "pyarrow either": FINE,
    "pandas arrow times": FINE_COLUMN,
    "pandas arrow times, one missing": FINE,
    "pandas arrow list of times": FINE,
    "pandas index of times": FINE,
    "pandas levels of times": FINE,
    "pandas array of times": FINE,
    "pandas categories of times": FINE,
    "pyarrow not a number": NO_NUMBER.format(0, "nan"),
}


@pytest.fixture(scope="module")
def answers(service: Service) -> dict[str, Any]:  # noqa: ARG001 - says it if there is no environment
    """What every case comes to; warnings are errors."""
    command = [str(ENVIRONMENT / "bin/python"), "-W", "error", str(HERE / "tables.py")]
    done = subprocess.run(
        [*command, str(ROOT / "sandbox/inside")], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("case", FOUND)
def test_a_table_has_its_columns_with_their_types(case: str, answers: dict[str, Any]) -> None:
    """Or it is said what would get lost, and what to write instead."""
    assert answers[case] == FOUND[case]


def test_every_case_is_looked_at(answers: dict[str, Any]) -> None:
    """And no other."""
    assert list(answers) == list(FOUND)


PLUGIN = """
# /// script
# requires-python = ">=3.11"
# [tool.toolrunner]
# name = "tables"
# input = "json"
# input_schema = {{ examples = [{{}}] }}
# limits = {{ memory_mb = 1024, threads = 256 }}
# ///
import {library}

def run(payload):
    return {table}
"""


@pytest.mark.parametrize(
    ("library", "table"),
    [
        ("pandas", "pandas.DataFrame({'a': [1, None]}, dtype='Int64')"),
        ("polars", "polars.DataFrame({'a': [1, None]})"),
        ("pyarrow", "pyarrow.table({'a': [1, None]})"),
    ],
)
def test_a_table_is_a_result_by_itself(
    library: str, table: str, service: Service, open_folder: Path, isolation: str
) -> None:
    """In a box, as any plugin."""
    path = open_folder / "tables.py"
    path.write_text(PLUGIN.format(library=library, table=table))
    found = service(path, "cold", isolation, calls=1)
    assert found.answers == [("cold", {"columns": ["a"], "rows": [[1], [None]]})]
