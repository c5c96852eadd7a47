# /// script
# requires-python = ">=3.11"
# dependencies = ["pyarrow"]
# [tool.toolrunner]
# name = "pyarrow-table"
# input = "json"
# input_schema = { required = ["count"], examples = [{ count = 1000 }] }
# limits = { memory_mb = 768 }
# warm_up = true
# ///
"""A table written as Parquet, read back and summed, with PyArrow."""

import pyarrow
import pyarrow.compute
import pyarrow.parquet


def run(payload):
    table = pyarrow.table({"n": list(range(payload["count"]))})
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    again = pyarrow.parquet.read_table(pyarrow.BufferReader(sink.getvalue()))
    return {"sum": pyarrow.compute.sum(again["n"]).as_py()}
