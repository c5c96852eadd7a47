# /// script
# requires-python = ">=3.11"
# dependencies = ["lightgbm", "numpy"]
# [tool.toolrunner]
# name = "lightgbm-model"
# input = "json"
# input_schema = { required = ["rows"], examples = [{ rows = [[0.1, 0.5], [0.9, 0.5]] }] }
# limits = { memory_mb = 1024 }
# warm_up = true
# ///
"""A boosted model trained when the plugin is loaded, with LightGBM."""

import lightgbm
import numpy

RANDOM = numpy.random.default_rng(1)
POINTS = RANDOM.random((500, 2))
MODEL = lightgbm.train(
    {"objective": "binary", "verbose": -1, "num_leaves": 7},
    lightgbm.Dataset(POINTS, (POINTS[:, 0] > 0.5).astype(int)),
    20,
)


def run(payload):
    return {"over": [bool(p > 0.5) for p in MODEL.predict(numpy.array(payload["rows"]))]}
