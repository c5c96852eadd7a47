# /// script
# requires-python = ">=3.11"
# dependencies = ["rapidfuzz"]
# [tool.toolrunner]
# name = "rapidfuzz-names"
# input = "json"
# input_schema = { required = ["name"], examples = [{ name = "Jon Smith" }] }
# warm_up = true
# ///
"""The name that is most like another one, with RapidFuzz."""

from rapidfuzz import fuzz, process

NAMES = ["Ada Lovelace", "John Smith", "Grace Hopper"]


def run(payload):
    name, score, _ = process.extractOne(payload["name"], NAMES, scorer=fuzz.ratio)
    return {"name": name, "sure": score > 90}
