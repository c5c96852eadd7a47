# /// script
# requires-python = ">=3.11"
# dependencies = ["scikit-image", "imageio"]
# [tool.toolrunner]
# name = "skimage-regions"
# accepts = ["image/jpeg"]
# limits = { memory_mb = 1024 }
# warm_up = true
# ///
"""Regions of a photograph, with scikit-image."""

import imageio.v3 as imageio
import skimage.color
import skimage.filters
import skimage.measure


def run(payload):
    image = imageio.imread(payload["image"], extension=".jpg") / 255.0
    grey = skimage.color.rgb2gray(image)[::2, ::2]
    bright = skimage.filters.gaussian(grey, 2) > skimage.filters.threshold_otsu(grey)
    regions = skimage.measure.regionprops(skimage.measure.label(bright))
    largest = max(regions, key=lambda region: region.area)
    return {"shape": list(grey.shape), "large": bool(largest.area > 0.05 * grey.size)}
