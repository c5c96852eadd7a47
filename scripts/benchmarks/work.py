"""The work that every side of the benchmark does, and the plugins that do it.

JSON in, a sum, JSON out, with some libraries imported beforehand. ``IMPORTS`` says which.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

HEADER = """\
# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "{name}"
# version = "1.0.0"
# description = "made for a measurement"
# input = "{input}"
# start = "{start}"
# {limits}
# ///
"""
IMPORTS = {
    "stdlib": "",
    "numpy": "import numpy\nimport PIL.Image\n",
    "scipy": "import numpy\nimport PIL.Image\nimport scipy.signal\nimport scipy.stats\n",
}
SUMS = {
    "stdlib": "    return {'sum': sum(payload['values'])}\n",
    "numpy": "    return {'sum': int(numpy.sum(numpy.array(payload['values'])))}\n",
    "scipy": "    return {'sum': int(numpy.sum(numpy.array(payload['values'])))}\n",
}
PAYLOAD = {"values": list(range(100))}
ANSWER = {"sum": sum(PAYLOAD["values"])}

SUBPROCESS_TAIL = """
import json
import sys

json.dump(run(json.load(sys.stdin)), sys.stdout)
"""


def source(size: str) -> str:
    """Return the work as a module's source: its imports and ``run(payload)``."""
    return f"{IMPORTS[size]}\ndef run(payload):\n{SUMS[size]}"


def write_plugin(
    folder: Path,
    name: str,
    body: str,
    *,
    start: str = "auto",
    takes: str = "json",
    limits: str = "",
) -> Path:
    """Write a single-file plugin and return its path."""
    path = folder / f"{name}.py"
    limit_line = f"limits = {limits}" if limits else ""
    head = HEADER.format(name=name, input=takes, start=start, limits=limit_line)
    path.write_text(head + textwrap.dedent(body), encoding="utf-8")
    return path
