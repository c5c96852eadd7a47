# /// script
# requires-python = ">=3.11"
# dependencies = ["polars"]
# [tool.toolrunner]
# name = "polars-each-call"
# start = "warm"
# input = "json"
# input_schema = { required = ["sales"], examples = [{ sales = [["north", 3], ["south", 5], ["north", 4]] }] }
# limits = { memory_mb = 768 }
# ///
"""Sales by region, with Polars: no query before the fork, so its pool starts in each call."""

import polars


def run(payload):
    sales = polars.DataFrame(payload["sales"], schema=["region", "sold"], orient="row").lazy()
    report = sales.group_by("region").agg(polars.col("sold").sum()).sort("sold", descending=True)
    return {"regions": report.collect().to_dicts()}
