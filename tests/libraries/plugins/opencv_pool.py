# /// script
# requires-python = ">=3.11"
# dependencies = ["opencv-python-headless", "numpy"]
# [tool.toolrunner]
# name = "opencv-pool"
# input = "json"
# input_schema = { required = ["side"], examples = [{ side = 1500 }] }
# warm_up = true
# ///
"""Work that OpenCV divides among the threads of a pool, which its first call makes."""

import cv2
import numpy


def run(payload):
    grey = numpy.full((payload["side"], payload["side"]), 7, numpy.uint8)
    blurred = cv2.medianBlur(cv2.resize(grey, None, fx=1.5, fy=1.5), 5)
    return {"mean": float(blurred.mean()), "threads": cv2.getNumThreads()}
