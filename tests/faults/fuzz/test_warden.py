"""The warden against a zygote that has run hostile code: no word of it is believed unchecked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TURNS_A_SLICE = 30


@pytest.mark.usefixtures("part")
def test_a_zygote_that_lies_gets_nothing_but_its_own_end(
    seed: str, count: Callable[[str, int], None]
) -> None:
    """Each ordered cell is placed or failed, once; nobody else's process is taken for one."""
    program = "tests.faults.fuzz.hostile_zygote"
    done = subprocess.run(
        [sys.executable, "-m", program, seed, str(TURNS_A_SLICE)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed!r}: {done.stderr}"
    assert done.stderr == ""
    count("turns of a warden", int(done.stdout))
