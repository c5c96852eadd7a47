# /// script
# requires-python = ">=3.11"
# dependencies = ["pypdf", "reportlab"]
# [tool.toolrunner]
# name = "pypdf-pages"
# input = "json"
# input_schema = { required = ["pages"], examples = [{ pages = 3 }] }
# warm_up = true
# ///
"""Pages drawn with ReportLab, turned, counted and read with pypdf."""

import io

import pypdf
from reportlab.pdfgen.canvas import Canvas


def run(payload):
    file = io.BytesIO()
    canvas = Canvas(file)
    for number in range(payload["pages"]):
        canvas.drawString(100, 700, f"page {number + 1}")
        canvas.showPage()
    canvas.save()
    pages = pypdf.PdfReader(file).pages
    return {"pages": len(pages), "last": pages[-1].rotate(90).extract_text().strip()}
