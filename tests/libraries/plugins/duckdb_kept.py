# /// script
# requires-python = ">=3.11"
# dependencies = ["duckdb"]
# [tool.toolrunner]
# name = "duckdb-kept"
# input = "json"
# input_schema = { required = ["least"], examples = [{ least = 2 }] }
# warm_up = true
# ///
"""A DuckDB query on a connection that is opened when the plugin is loaded."""

import duckdb

DATABASE = duckdb.connect()
DATABASE.execute("create table t as select range as n, range % 3 as g from range(3000)")


def run(payload):
    rows = DATABASE.execute(
        "select g, count(*), sum(n) from t group by g having g >= ? order by g", [payload["least"]]
    ).fetchall()
    return {"rows": rows}
