# /// script
# requires-python = ">=3.11"
# dependencies = ["scikit-learn"]
# [tool.toolrunner]
# name = "sklearn-text"
# input = "json"
# input_schema = { required = ["texts"], examples = [{ texts = ["what a good film", "a bad and boring one"] }] }
# limits = { memory_mb = 1024 }
# warm_up = true
# ///
"""Whether texts are kind, by a model trained when the plugin is loaded, with scikit-learn."""

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

KIND = ["good film", "a great and good story", "I like it, great"]
UNKIND = ["bad film", "a boring story", "boring and bad, I hate it"]
MODEL = make_pipeline(TfidfVectorizer(), LogisticRegression())
MODEL.fit(KIND + UNKIND, [1] * len(KIND) + [0] * len(UNKIND))


def run(payload):
    return {"kind": [bool(kind) for kind in MODEL.predict(payload["texts"])]}
