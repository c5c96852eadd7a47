# /// script
# requires-python = ">=3.11"
# dependencies = ["python-docx"]
# [tool.toolrunner]
# name = "docx-letter"
# input = "json"
# input_schema = { required = ["name"], examples = [{ name = "Ada" }] }
# warm_up = true
# ///
"""A letter as a Word document and back, with python-docx."""

import io

import docx


def run(payload):
    document = docx.Document()
    document.add_heading("A letter", 1)
    document.add_paragraph(f"Dear {payload['name']}")
    file = io.BytesIO()
    document.save(file)
    again = docx.Document(file)
    return {"paragraphs": [paragraph.text for paragraph in again.paragraphs]}
