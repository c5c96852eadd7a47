"""Says where the time of a run goes, by folders and files: ``pytest --parallel N --spent``.

Seconds of waiting and of working tell apart what the next test may share and what may be left out.
What a test's processes have worked counts once the test has waited for them.
"""

from __future__ import annotations

import resource
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import PurePath

import pytest

WORKED = "worked seconds"
_MOST_FILES = 40
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
    """Print two tables, those first that have worked the most: folders, and the costliest files."""
    by_folder: dict[str, _Spent] = defaultdict(_Spent)
    by_file: dict[str, _Spent] = defaultdict(_Spent)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if not isinstance(report, pytest.TestReport):
                continue
            file = report.nodeid.partition("::")[0]
            by_folder[str(PurePath(file).parent)].add(report)
            by_file[file].add(report)
    terminalreporter.section("where the time goes")
    for kind, spent, most in (("folder", by_folder, None), ("file", by_file, _MOST_FILES)):
        terminalreporter.write_line(f"| {kind} | tests | seconds | of them worked |")
        terminalreporter.write_line("|---|---|---|---|")
        for name in sorted(spent, key=lambda name: -spent[name].worked)[:most]:
            one = spent[name]
            terminalreporter.write_line(
                f"| `{name}` | {len(one.tests)} | {one.took:.0f} | {one.worked:.0f} |"
            )


@dataclass
class _Spent:
    """``took`` and ``worked`` in seconds."""

    tests: set[str] = field(default_factory=set)
    took: float = 0.0
    worked: float = 0.0

    def add(self, report: pytest.TestReport) -> None:
        self.tests.add(report.nodeid)
        self.took += report.duration
        self.worked += sum(
            float(str(value)) for name, value in report.user_properties if name == WORKED
        )
