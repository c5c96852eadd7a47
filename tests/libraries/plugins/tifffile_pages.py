# /// script
# requires-python = ">=3.11"
# dependencies = ["tifffile", "numpy"]
# [tool.toolrunner]
# name = "tifffile-pages"
# input = "json"
# input_schema = { required = ["pages"], examples = [{ pages = 3 }] }
# warm_up = true
# ///
"""A TIFF file of some pages in the scratch folder and back, with tifffile."""

import numpy
import tifffile


def run(payload):
    pages = numpy.arange(payload["pages"] * 4096, dtype=numpy.uint16).reshape(-1, 64, 64)
    tifffile.imwrite("pages.tif", pages, photometric="minisblack")
    return {"pages": tifffile.imread("pages.tif")[:, -1, -1]}
