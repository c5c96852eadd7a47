# /// script
# requires-python = ">=3.11"
# dependencies = ["pymupdf"]
# [tool.toolrunner]
# name = "pymupdf-plain"
# input = "json"
# input_schema = { required = ["text"], examples = [{ text = "Hello page" }] }
# limits = { memory_mb = 768 }
# warm_up = true
# ///
"""A page with text as PDF, read back, with PyMuPDF and without its model for layouts."""

import sys

# It would start a thread pool as soon as it is imported.
sys.modules["pymupdf.layout"] = None
import pymupdf


def run(payload):
    document = pymupdf.open()
    document.new_page(width=200, height=100).insert_text((20, 50), payload["text"])
    return {"text": pymupdf.open("pdf", document.tobytes())[0].get_text().strip()}
