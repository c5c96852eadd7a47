# /// script
# requires-python = ">=3.11"
# dependencies = ["scikit-learn"]
# [tool.toolrunner]
# name = "sklearn-classifier"
# input = "json"
# input_schema = { required = ["flowers"], examples = [{ flowers = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]] }] }
# limits = { memory_mb = 1024 }
# warm_up = true
# ///
"""Kinds of flowers, by a forest trained when the plugin is loaded, with scikit-learn."""

from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

IRIS = load_iris()
MODEL = make_pipeline(StandardScaler(), RandomForestClassifier(50, random_state=1))
MODEL.fit(IRIS.data, IRIS.target)


def run(payload):
    return {"kinds": [str(IRIS.target_names[k]) for k in MODEL.predict(payload["flowers"])]}
