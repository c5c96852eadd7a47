# /// script
# requires-python = ">=3.11"
# dependencies = ["pandas"]
# [tool.toolrunner]
# name = "pandas-report"
# input = "json"
# input_schema = { required = ["sales"], examples = [{ sales = [["north", 3], ["south", 5], ["north", 4]] }] }
# limits = { memory_mb = 768 }
# warm_up = true
# ///
"""Sales by region, with pandas."""

import pandas


def run(payload):
    sales = pandas.DataFrame(payload["sales"], columns=["region", "sold"])
    report = sales.groupby("region")["sold"].agg(["sum", "mean"])
    return {"regions": report.to_dict("index"), "best": report["sum"].idxmax()}
