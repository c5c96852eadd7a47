"""Says where the time of a run goes, folder by folder: ``pytest --parallel N --spent``.

Seconds of waiting and of working tell apart what the next test may share and what may be left out.
What a test's processes have worked counts once the test has waited for them.
"""

from __future__ import annotations

import resource
from collections import defaultdict
from pathlib import PurePath

import pytest

WORKED = "worked seconds"
_BY_OTHERS = [0.0]


def worked_seconds() -> float:
    """Return the processor time of this process and of all that it has waited for."""
    return sum(map(_seconds, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))) + _BY_OTHERS[0]


def add(seconds: float) -> None:
    """Count what was worked for this process by one that is no child of it."""
    _BY_OTHERS[0] += seconds


def children_worked_seconds() -> float:
    """Return the processor time of all that this process has waited for."""
    return _seconds(resource.RUSAGE_CHILDREN)


def _seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a table for CONTRIBUTING.md, the longest first."""
    tests: dict[str, set[str]] = defaultdict(set)
    took: dict[str, float] = defaultdict(float)
    worked: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if not isinstance(report, pytest.TestReport):
                continue
            folder = str(PurePath(report.nodeid.partition("::")[0]).parent)
            tests[folder].add(report.nodeid)
            took[folder] += report.duration
            worked[folder] += sum(
                float(str(value)) for name, value in report.user_properties if name == WORKED
            )
    terminalreporter.section("where the time goes")
    terminalreporter.write_line("| folder | tests | seconds | of them worked |")
    terminalreporter.write_line("|---|---|---|---|")
    for folder in sorted(took, key=lambda name: -took[name]):
        terminalreporter.write_line(
            f"| `{folder}` | {len(tests[folder])} | {took[folder]:.0f} | {worked[folder]:.0f} |"
        )
