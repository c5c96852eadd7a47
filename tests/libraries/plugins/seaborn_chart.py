# /// script
# requires-python = ">=3.11"
# dependencies = ["seaborn", "pandas", "matplotlib"]
# [tool.toolrunner]
# name = "seaborn-chart"
# input = "json"
# input_schema = { required = ["values"], examples = [{ values = [3, 1, 2] }] }
# limits = { memory_mb = 1024 }
# warm_up = true
# ///
"""A chart of a table as SVG, with seaborn, pandas and Matplotlib."""

import io

import matplotlib

matplotlib.use("svg")
import pandas
import seaborn
from matplotlib import pyplot


def run(payload):
    table = pandas.DataFrame({"x": range(len(payload["values"])), "y": payload["values"]})
    axes = seaborn.barplot(table, x="x", y="y")
    file = io.StringIO()
    axes.figure.savefig(file, format="svg")
    pyplot.close(axes.figure)
    return {"svg": file.getvalue().count("<svg"), "bars": len(axes.patches)}
