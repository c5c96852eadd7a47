# /// script
# requires-python = ">=3.11"
# dependencies = ["shapely"]
# [tool.toolrunner]
# name = "shapely-areas"
# input = "json"
# input_schema = { required = ["radius"], examples = [{ radius = 2 }] }
# warm_up = true
# ///
"""Areas of shapes laid over each other, with Shapely."""

import shapely

SQUARE = shapely.box(0, 0, 10, 10)


def run(payload):
    circle = shapely.Point(0, 0).buffer(payload["radius"], quad_segs=64)
    return {"area": round(SQUARE.intersection(circle).area, 2)}
