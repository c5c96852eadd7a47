# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "shapes"
# version = "1.0.0"
# description = "Places of every form that a picture of 200 by 100 pixels can have, always the same"
# input = "image"
# accepts = ["image/png", "image/jpeg"]
# ///
"""Name places of every form, for a test of what is drawn."""

LONG = "a label that is as long as labels are"
EDGES = [
    {"label": LONG, "box": [left, top, left + 9, top + 9], "format": "xyxy"}
    for left, top in [(-5, -5), (0, 0), (110, 50), (125, 5), (195, 95), (150, 99)]
]


def run(payload):
    if payload.get("options", {}).get("edges"):
        return {"width": 200, "height": 100, "found": EDGES}
    return {
        "width": 200,
        "height": 100,
        "codes": [
            {"text": "corners", "corners": [[10, 10], [40, 12], [38, 42], [8, 40]]},
            {"text": "a quad of points", "quad": [{"x": 60, "y": 10}, {"x": 90, "y": 10}, {"x": 90, "y": 40}, {"x": 60, "y": 40}]},
        ],
        "words": [{"label": "a box", "score": 0.5, "box": [110, 10, 40, 30]}],
        "faces": [{"label": "a bbox", "bbox": {"x": 160, "y": 10, "width": 30, "height": 30}}],
        "areas": [{"label": "a polygon", "polygon": [[10, 60], [50, 60], [30, 90]]}],
        "stars": {"label": "points", "points": [[70, 70], [80, 80], [90, 70]]},
    }
