# /// script
# requires-python = ">=3.11"
# dependencies = ["pyarrow"]
# [tool.toolrunner]
# name = "pyarrow-one-thread"
# input = "json"
# input_schema = { required = ["count"], examples = [{ count = 1000 }] }
# limits = { memory_mb = 768 }
# warm_up = true
# ///
"""A table written as Parquet, read back and grouped, with the parts of PyArrow that need no pool."""

import pyarrow
import pyarrow.parquet


def run(payload):
    numbers = list(range(payload["count"]))
    table = pyarrow.table({"n": numbers, "odd": [number % 2 for number in numbers]})
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(sink.getvalue()))
    again = file.read(use_threads=False)
    sums = again.group_by("odd", use_threads=False).aggregate([("n", "sum")]).sort_by("odd")
    return {"sums": sums["n_sum"].to_pylist()}
