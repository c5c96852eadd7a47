# /// script
# requires-python = ">=3.11"
# dependencies = ["h5py", "numpy"]
# [tool.toolrunner]
# name = "h5py-array"
# input = "json"
# input_schema = { required = ["rows"], examples = [{ rows = 100 }] }
# warm_up = true
# ///
"""An HDF5 file written to the scratch folder and read back in part, with h5py."""

import h5py
import numpy


def run(payload):
    with h5py.File("array.h5", "w") as file:
        file.create_dataset("a", data=numpy.arange(payload["rows"] * 10).reshape(-1, 10))
    with h5py.File("array.h5") as file:
        part = file["a"][5:10, 2]
    return {"part": part}
