# /// script
# requires-python = ">=3.11"
# dependencies = ["markdown"]
# [tool.toolrunner]
# name = "markdown-page"
# input = "json"
# input_schema = { required = ["text"], examples = [{ text = "# One\n\n- *two*" }] }
# warm_up = true
# ///
"""Markdown as HTML."""

import markdown


def run(payload):
    return {"html": markdown.markdown(payload["text"], extensions=["tables"])}
