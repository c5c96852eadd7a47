# /// script
# requires-python = ">=3.11"
# dependencies = ["opencv-python-headless", "numpy"]
# [tool.toolrunner]
# name = "opencv-edges"
# accepts = ["image/jpeg"]
# warm_up = true
# ///
"""Outlines in a photograph, with OpenCV."""

import cv2
import numpy


def run(payload):
    image = cv2.imdecode(numpy.frombuffer(payload["image"], numpy.uint8), cv2.IMREAD_GRAYSCALE)
    edges = cv2.Canny(cv2.GaussianBlur(image, (5, 5), 0), 50, 150)
    outlines, _ = cv2.findContours(edges, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return {"shape": list(image.shape), "many": len(outlines) > 100}
