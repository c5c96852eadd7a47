# /// script
# requires-python = ">=3.11"
# dependencies = ["numba", "numpy"]
# [tool.toolrunner]
# name = "numba-compiled"
# input = "json"
# input_schema = { required = ["count"], examples = [{ count = 1000 }] }
# warm_up = true
# ///
"""A loop that is compiled when the plugin is loaded, with numba."""

import numba
import numpy


@numba.njit
def closest(points):
    best = 1e9
    for i in range(len(points)):
        for j in range(i):
            best = min(best, abs(points[i] - points[j]))
    return best


def run(payload):
    return {"closest": closest(numpy.arange(payload["count"]) * 0.5)}
