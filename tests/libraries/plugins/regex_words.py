# /// script
# requires-python = ">=3.11"
# dependencies = ["regex"]
# [tool.toolrunner]
# name = "regex-words"
# input = "json"
# input_schema = { required = ["text"], examples = [{ text = "naïve Größe, 42 ships" }] }
# warm_up = true
# ///
"""Words by Unicode properties, with regex."""

import regex

WORDS = regex.compile(r"\p{L}+")


def run(payload):
    return {"words": WORDS.findall(payload["text"])}
