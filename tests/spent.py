"""Says where the time of a run goes, folder by folder: ``pytest --parallel N --spent``.

Seconds of waiting and of working tell apart what the next test may share and what may be left out.
What a test's processes have worked counts once the test has waited for them: not what commands do
in the forks of ``tests/api/forking.py``.
"""

from __future__ import annotations

import resource
from collections import defaultdict
from pathlib import PurePath

import pytest

WORKED = "worked seconds"


def worked_seconds() -> float:
    """Return the processor time of this process and of all that it has waited for."""
    own, below = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime


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
