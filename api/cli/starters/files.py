"""A plugin that is given files and gives one back, with the standard library alone."""

PLUGIN = '''\
# /// script
# requires-python = ">=3.11"
# dependencies = [] # such as ["pandas>=2"], by toolrunner plugins install my_plugin.py
# [tool.toolrunner]
# name = "my-plugin"
# version = "0.1.0"
# description = "Rows and columns of CSV files, and all of them as one"
# input = "files"     # payload["files"] says where they lie; they are read-only
# accepts = ["text/csv", "text/plain"]
# limits = { wall_seconds = 30, cpu_seconds = 30, memory_mb = 256, payload_mb = 100 }
# ///
"""Look through CSV files, and put their rows together."""

import csv
from pathlib import Path
from typing import Any, Protocol


class Context(Protocol):
    """What `run` may ask for; it has config and seconds_left() as well."""

    scratch: Path

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell whoever waits how far the work has come."""

    def artifact(self, name: str, data: Path | bytes) -> dict[str, Any]:
        """Give a file back; return what stands for it in the result."""


class InvalidInput(Exception):
    """Raise it for input that you cannot take: its name tells the caller so."""


def warm_up() -> None:
    """Called once, when the plugin is loaded: what no call has to do again."""
    list(csv.DictReader(["a,b", "1,2"]))


def run(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Called once, in a process of its own. What it returns has to be a JSON object."""
    found = []
    together = context.scratch / "together.csv"  # written here, and given back below
    with together.open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target)
        for number, file in enumerate(payload["files"], 1):
            header, rows = read(file)
            writer.writerows([["file", *header]] if number == 1 else [])
            writer.writerows([file["name"], *row] for row in rows)
            found.append({"file": file["name"], "columns": header, "rows": len(rows)})
            context.progress(number / len(payload["files"]), file["name"])
    return {"files": found, "together": context.artifact("together.csv", together)}


def read(file: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a file."""
    try:
        with Path(file["path"]).open(newline="", encoding="utf-8-sig") as source:
            rows = list(csv.reader(source))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{file['name']} is no CSV file: {error}") from error
    if not rows:
        raise InvalidInput(f"{file['name']} is empty")
    return rows[0], rows[1:]
'''

TEST = '''\
"""Tests of my-plugin, in the real sandbox: pip install pytest, then pytest."""

from pathlib import Path

from toolrunner.pytest_plugin import Governed

HERE = Path(__file__).parent
PLUGIN = HERE / "my_plugin.py"
SAMPLE = HERE / "my_plugin_sample.csv"


def test_it_puts_files_together(governed: Governed) -> None:
    """The outcome of a call has result, error, usage, log and artifacts."""
    more = {"name": "more.csv", "data": b"city,people\\nUr,1\\n"}
    outcome = governed(PLUGIN, {"files": [SAMPLE, more]})
    files = outcome.unwrap()["files"]
    assert [(one["columns"], one["rows"]) for one in files] == [
        (["city", "people"], 3),
        (["city", "people"], 1),
    ]
    lines = outcome.artifacts["together.csv"].decode().splitlines()
    assert (lines[0], lines[-1]) == ("file,city,people", "more.csv,Ur,1")


def test_it_refuses_what_is_no_text(governed: Governed) -> None:
    """Bad input is the caller's fault, and told as such."""
    file = {"name": "a.csv", "data": b"\\xff\\xff"}
    assert governed(PLUGIN, {"files": [file]}).error_type == "ValidationError"
'''

SAMPLE = "city,people\nLagos,16\nLima,11\nLviv,1\n"

FILES = {
    "my_plugin.py": PLUGIN,
    "test_my_plugin.py": TEST,
    "my_plugin_sample.csv": SAMPLE,
}
