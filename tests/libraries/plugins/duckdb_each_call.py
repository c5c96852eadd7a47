# /// script
# requires-python = ">=3.11"
# dependencies = ["duckdb"]
# [tool.toolrunner]
# name = "duckdb-each-call"
# input = "json"
# input_schema = { required = ["least"], examples = [{ least = 2 }] }
# warm_up = true
# ///
"""A DuckDB query on a database that each call opens for itself."""

import duckdb


def run(payload):
    with duckdb.connect() as database:
        database.execute("create table t as select range as n, range % 3 as g from range(3000)")
        rows = database.execute(
            "select g, count(*), sum(n) from t group by g having g >= ? order by g",
            [payload["least"]],
        ).fetchall()
    return {"rows": rows}
