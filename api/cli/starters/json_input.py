"""A plugin that is given JSON, with the standard library alone."""

PLUGIN = '''\
# /// script
# requires-python = ">=3.11"
# dependencies = [] # such as ["numpy>=2"], by toolrunner plugins install my_plugin.py
# [tool.toolrunner]
# name = "my-plugin"
# version = "0.1.0"
# description = "Mean, median and spread of numbers, and which of them stand out"
# input = "json"      # the payload is any JSON object that fits the schema
# limits = { wall_seconds = 10, cpu_seconds = 10, memory_mb = 256 }
#
# [tool.toolrunner.input_schema]    # JSON Schema; what does not fit never reaches run()
# type = "object"
# required = ["numbers"]
# examples = [{ numbers = [3, 4, 4, 5, 40] }]
#
# [tool.toolrunner.input_schema.properties.numbers]
# type = "array"
# items = { type = "number" }
# ///
"""Describe a list of numbers."""

import statistics
from typing import Any, Protocol

FEWEST = 2
FAR = 1.5  # in spreads between the quartiles, as Tukey proposed


class Context(Protocol):
    """What `run` may ask for; also scratch, config, seconds_left(), artifact()."""

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell whoever waits how far the work has come."""


class InvalidInput(Exception):
    """Raise it for input that you cannot take: its name tells the caller so."""


def warm_up() -> None:
    """Called once, when the plugin is loaded: what no call has to do again."""
    statistics.quantiles([1, 2, 3])


def run(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Called once, in a process of its own. What it returns has to be a JSON object."""
    numbers: list[float] = payload["numbers"]
    if len(numbers) < FEWEST:
        raise InvalidInput(f"give at least {FEWEST} numbers")
    context.progress(0.5, f"looking at {len(numbers)} numbers")
    first, median, third = statistics.quantiles(numbers, n=4, method="inclusive")
    reach = FAR * (third - first)
    return {
        "count": len(numbers),
        "mean": statistics.fmean(numbers),
        "median": median,
        "deviation": statistics.stdev(numbers),
        "outliers": [n for n in numbers if not first - reach <= n <= third + reach],
    }
'''

TEST = '''\
"""Tests of my-plugin, in the real sandbox: pip install pytest, then pytest."""

from pathlib import Path

from toolrunner.pytest_plugin import Governed

PLUGIN = Path(__file__).parent / "my_plugin.py"


def test_it_finds_what_stands_out(governed: Governed) -> None:
    """The outcome of a call has result, error, usage, log and artifacts."""
    result = governed(PLUGIN, {"numbers": [3, 4, 4, 5, 40]}).unwrap()
    assert (result["median"], result["outliers"]) == (4, [40])


def test_it_refuses_one_number(governed: Governed) -> None:
    """Bad input is the caller's fault, and told as such."""
    assert governed(PLUGIN, {"numbers": [1]}).error_type == "ValidationError"
'''

FILES = {"my_plugin.py": PLUGIN, "test_my_plugin.py": TEST}
