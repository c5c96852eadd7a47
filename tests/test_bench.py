"""The benchmark runs and says what it says it measures. Its figures are nobody's to assert."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "scripts" / "bench.py"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmark as a user does."""
    return subprocess.run(
        [sys.executable, str(BENCH), *arguments], capture_output=True, text=True, check=False
    )


def part(*arguments: str) -> Any:
    """Return the figures of one of its parts."""
    done = bench("--part", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "side", ["floor", "toolrunner warm", "toolrunner cold", "pool forkserver", "subprocess"]
)
def test_each_side_does_the_work(side: str) -> None:
    """A wrong answer would end it."""
    taken = part("side", f"{side},numpy", "2")
    assert len(taken) == 2
    assert all(seconds > 0 for seconds in taken)


SHAPES = set(runpy.run_path(str(BENCH.parent / "benchmarks" / "intake.py"))["SHAPES"])
PARTS = {
    "payload": ("65536", "2", {"bytes", "p50", "push_p50"}),
    "concurrency": ("2", "6", {"threads", "per_second", "p50", "p99"}),
    "wall": ("0", "2", {"p50", "p99"}),
    "bomb": ("0", "1", {"limit_mb", "of_the_limit"}),
    "intake": ("0", "1", SHAPES),
    "soak": ("0", "20", {"calls", "first", "last"}),
    "library": ("numpy_photo,in-process", "5", {"mode", "ms"}),
    "reused": ("trivial,reused pool", "5", {"p50", "per_second"}),
    "http": ("image,2", "2", {"run_p50", "http_p50", "run_per_second", "http_per_second"}),
    "door": ("opencv_edges,toolrunner resident", "5", {"p50", "per_second"}),
    "page": ("2", "3", {"answered", "opened", "calls"}),
}


@pytest.mark.parametrize("name", PARTS)
def test_each_part_has_its_figures(name: str) -> None:
    """And ends by itself."""
    number, calls, names = PARTS[name]
    assert set(part(name, number, calls)) == names


def test_it_prints_tables_and_documents() -> None:
    """For people, for documents and for programs."""
    plain = bench("plugins", "idle")
    assert plain.returncode == 0, plain.stderr
    assert "PLUGINS" in plain.stdout
    assert "pss mb" in plain.stdout
    assert "| plugins | ms each | processes |" in bench("plugins", "--markdown").stdout
    document = json.loads(bench("plugins", "idle", "--json").stdout)
    assert [row["plugins"] for row in document["plugins"]] == [1, 50, 200]
    assert [row["processes"] for row in document["plugins"]] == [0, 0, 0]


def test_it_says_what_it_does_not_know() -> None:
    """With what there is instead."""
    done = bench("speed")
    assert done.returncode == 2
    assert "no section speed; there are: compare, payload" in done.stderr


def test_the_plot_is_a_picture() -> None:
    """Of one bar a side, without those that are not installed."""
    plot = runpy.run_path(str(BENCH.parent / "benchmarks" / "plot.py"))
    rows = [
        {"side": "floor", "of_floor": 1.0, "p50_ms": 2.0, "p99_ms": 4.0},
        {"side": "toolrunner warm", "of_floor": 1.2, "p50_ms": 2.4, "p99_ms": 6.0},
        {"side": "bwrap", "of_floor": None, "p50_ms": None, "p99_ms": None},
    ]
    picture = ET.fromstring(plot["bars"](rows))
    assert len([e for e in picture.iter() if e.tag.endswith("rect")]) == 2
