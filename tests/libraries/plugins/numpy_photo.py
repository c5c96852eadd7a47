# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy", "pillow"]
# [tool.toolrunner]
# name = "numpy-photo"
# accepts = ["image/jpeg"]
# warm_up = true
# ///
"""The mean colour and the brightest column of a photograph, with NumPy and Pillow."""

import io

import numpy
from PIL import Image


def run(payload):
    pixels = numpy.asarray(Image.open(io.BytesIO(payload["image"])).convert("RGB"))
    mean = pixels.mean(axis=(0, 1))
    return {"mean": numpy.round(mean).astype(int), "column": pixels.sum(axis=(0, 2)).argmax()}
