# /// script
# requires-python = ">=3.11"
# dependencies = ["numba", "numpy"]
# [tool.toolrunner]
# name = "numba-parallel-warm"
# input = "json"
# input_schema = { required = ["count"], examples = [{ count = 100000 }] }
# warm_up = true
# ///
"""A parallel loop, with numba, which here makes no lock in shared memory."""

import multiprocessing

import numba
import numpy

# Or numba makes a lock that processes share.
multiprocessing.set_start_method("spawn")


@numba.njit(parallel=True)
def squares(numbers):
    total = 0.0
    for i in numba.prange(len(numbers)):
        total += numbers[i] ** 2
    return total


def run(payload):
    return {"total": squares(numpy.ones(payload["count"]))}
