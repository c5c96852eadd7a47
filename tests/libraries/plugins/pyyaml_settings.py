# /// script
# requires-python = ">=3.11"
# dependencies = ["pyyaml"]
# [tool.toolrunner]
# name = "pyyaml-settings"
# input = "json"
# input_schema = { required = ["text"], examples = [{ text = "a: [1, 2]\nb: {c: yes}" }] }
# warm_up = true
# ///
"""YAML read and written, with PyYAML."""

import yaml


def run(payload):
    settings = yaml.safe_load(payload["text"])
    return {"settings": settings, "again": yaml.safe_load(yaml.safe_dump(settings)) == settings}
