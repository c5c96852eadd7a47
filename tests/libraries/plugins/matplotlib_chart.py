# /// script
# requires-python = ">=3.11"
# dependencies = ["matplotlib"]
# [tool.toolrunner]
# name = "matplotlib-chart"
# input = "json"
# input_schema = { required = ["values"], examples = [{ values = [3, 1, 2] }] }
# limits = { memory_mb = 768 }
# warm_up = true
# ///
"""A bar chart as a PNG image, with Matplotlib."""

import io
import struct

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot


def run(payload):
    figure, axes = pyplot.subplots(figsize=(4, 3), dpi=100)
    axes.bar(range(len(payload["values"])), payload["values"])
    axes.set_title("Values")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    pyplot.close(figure)
    return {"size": list(struct.unpack(">II", file.getvalue()[16:24]))}
