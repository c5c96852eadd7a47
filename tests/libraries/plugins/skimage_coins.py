# /// script
# requires-python = ">=3.11"
# dependencies = ["scikit-image", "numpy"]
# [tool.toolrunner]
# name = "skimage-coins"
# accepts = ["image/jpeg"]
# limits = { memory_mb = 1024 }
# warm_up = true
# ///
"""Regions of a photograph, with scikit-image."""

import numpy
import skimage.color
import skimage.filters
import skimage.io
import skimage.measure


def run(payload):
    image = skimage.io.imread(payload["image"], plugin="imageio") / 255.0
    grey = skimage.color.rgb2gray(image)[::2, ::2]
    bright = skimage.filters.gaussian(grey, 2) > skimage.filters.threshold_otsu(grey)
    regions = skimage.measure.regionprops(skimage.measure.label(bright))
    largest = max(regions, key=lambda region: region.area)
    return {"shape": list(grey.shape), "large": bool(largest.area > 0.05 * grey.size)}
