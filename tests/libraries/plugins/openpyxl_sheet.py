# /// script
# requires-python = ">=3.11"
# dependencies = ["openpyxl"]
# [tool.toolrunner]
# name = "openpyxl-sheet"
# input = "json"
# input_schema = { required = ["rows"], examples = [{ rows = [["tea", 3], ["cake", 5]] }] }
# warm_up = true
# ///
"""A spreadsheet written and read back, with openpyxl."""

import io

import openpyxl


def run(payload):
    book = openpyxl.Workbook()
    for row in payload["rows"]:
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    sheet = openpyxl.load_workbook(file, read_only=True).active
    return {"total": sum(row[1] for row in sheet.iter_rows(values_only=True))}
