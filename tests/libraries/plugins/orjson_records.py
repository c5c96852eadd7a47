# /// script
# requires-python = ">=3.11"
# dependencies = ["orjson"]
# [tool.toolrunner]
# name = "orjson-records"
# input = "json"
# input_schema = { required = ["count"], examples = [{ count = 1000 }] }
# warm_up = true
# ///
"""Records as JSON and back, with orjson."""

import orjson


def run(payload):
    text = orjson.dumps([{"id": n, "name": f"n{n}"} for n in range(payload["count"])])
    return {"last": orjson.loads(text)[-1]}
