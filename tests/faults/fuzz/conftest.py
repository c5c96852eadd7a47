"""The seed and the size of a run, and what is said of them at its end."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable

import pytest

from tests.faults.fuzz.mutator import Mutator

SEED_VARIABLE = "TOOLRUNNER_FUZZ_SEED"
FRAMES_VARIABLE = "TOOLRUNNER_FUZZ_FRAMES"
FRAMES = 1_000_000
FRAMES_A_SLICE = 50_000  # of each test, for the processors to share
_SEED = pytest.StashKey[str]()
_FRAMES = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed before any process of a test is forked.

    The variables are taken away: the product refuses those of its prefix that it does not know.
    """
    config.stash[_SEED] = os.environ.pop(SEED_VARIABLE, "") or secrets.token_hex(8)
    config.stash[_FRAMES] = int(os.environ.pop(FRAMES_VARIABLE, FRAMES))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``part`` once for each slice of the frames."""
    if "part" in metafunc.fixturenames:
        slices = max(1, -(-metafunc.config.stash[_FRAMES] // FRAMES_A_SLICE))
        metafunc.parametrize("part", range(slices))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what was tried, and the seed that tries the same again."""
    counts: dict[str, int] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                for name, count in report.user_properties:
                    if name.startswith("fuzzed "):
                        counts[name] = counts.get(name, 0) + int(count)
    if counts:
        terminalreporter.section(f"fuzzing, {SEED_VARIABLE}={config.stash[_SEED]}")
        for name, count in sorted(counts.items()):
            terminalreporter.write_line(f"{name}: {count}")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> str:
    """The seed of this test: the run's, and the test's own name with its parameters."""
    return f"{request.config.stash[_SEED]} {request.node.name}"


@pytest.fixture
def mutator(seed: str) -> Mutator:
    """The mutator of this test."""
    return Mutator(seed)


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Callable[[str, int], None]:
    """A function that takes in how much of what was tried, for the summary."""
    return lambda what, number: record_property(f"fuzzed {what}", number)
