# /// script
# requires-python = ">=3.11"
# dependencies = ["pymupdf"]
# [tool.toolrunner]
# name = "pymupdf-text"
# input = "json"
# input_schema = { required = ["text"], examples = [{ text = "Hello page" }] }
# limits = { memory_mb = 768 }
# warm_up = true
# ///
"""A page with text as PDF, read back and rendered, with PyMuPDF."""

import pymupdf


def run(payload):
    document = pymupdf.open()
    document.new_page(width=200, height=100).insert_text((20, 50), payload["text"])
    page = pymupdf.open("pdf", document.tobytes())[0]
    image = page.get_pixmap(dpi=72)
    return {"text": page.get_text().strip(), "size": [image.width, image.height]}
