"""What docs/environments.md says of installing, held against what is done."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

from tests.faults.host.test_scarce import ROOT
from toolrunner.runner.environments.uv import configuration
from toolrunner.runner.environments.wish import FOLDER_LOCKS
from toolrunner.runner.environments.workshop import DISK_MB, LIMITS

TEXT = " ".join((ROOT / "docs/environments.md").read_text("utf-8").split())


def test_the_limits_are_the_ones_that_hold() -> None:
    """All that bound a whole tree."""
    limits = {**asdict(LIMITS), "disk_mb": DISK_MB}
    for words, name in (
        (r"may take (\d+) s,", "wall_seconds"),
        (r"(\d+) s of processor time", "cpu_seconds"),
        (r"(\d+) MiB of memory", "memory_mb"),
        (r"(\d+) processes,", "processes"),
        (r"(\d+) threads and", "threads"),
        (r"(\d+) MiB of disk", "disk_mb"),
    ):
        told = re.search(words, TEXT)
        assert told is not None, name
        assert int(told[1]) == limits[name]


def test_the_variables_are_the_ones_that_are_passed_on() -> None:
    """Each that is named."""
    section = TEXT.partition("## Private indexes")[2].partition("## ")[0]
    named = re.findall(r"`((?:UV|SSL|HTTP|HTTPS|ALL|NO)_[A-Z_]+)`", section)
    assert len(named) > 10
    told = dict.fromkeys(named, "https://example.org/x") | {"UV_CONFIG_FILE": "/dev/null"}
    assert set(configuration(told).variables) == set(named) - {"UV_CONFIG_FILE"}


def test_the_locks_are_the_ones_that_are_looked_for() -> None:
    """In this order."""
    for name in FOLDER_LOCKS:
        assert f"`{name}` in it" in TEXT


def test_uv_is_as_large_as_is_said() -> None:
    """Or smaller: that is why it is an extra."""
    from toolrunner.runner.environments.uv import find_uv

    told = re.search(r"one program of (\d+) MiB", TEXT)
    assert told is not None
    assert Path(find_uv()).stat().st_size < (int(told[1]) + 10) << 20
