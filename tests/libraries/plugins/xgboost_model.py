# /// script
# requires-python = ">=3.11"
# dependencies = ["xgboost-cpu", "numpy"]
# [tool.toolrunner]
# name = "xgboost-model"
# input = "json"
# input_schema = { required = ["rows"], examples = [{ rows = [[0.1, 0.5], [0.9, 0.5]] }] }
# limits = { memory_mb = 1024 }
# warm_up = true
# ///
"""A boosted model trained when the plugin is loaded, with XGBoost."""

import numpy
import xgboost

RANDOM = numpy.random.default_rng(1)
POINTS = RANDOM.random((500, 2))
MODEL = xgboost.XGBClassifier(n_estimators=20, max_depth=3)
MODEL.fit(POINTS, (POINTS[:, 0] > 0.5).astype(int))


def run(payload):
    return {"over": [bool(p) for p in MODEL.predict(numpy.array(payload["rows"]))]}
