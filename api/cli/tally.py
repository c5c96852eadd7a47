"""What became of a command's images, counted: for the last line that it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from toolrunner.api.cli.console import counted
from toolrunner.runner.errors import ErrorType


@dataclass(slots=True)
class Tally:
    """Counts of one command."""

    done: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    passed_over: int = 0
    absent: int = 0  # of those that have failed: nothing is there, so no image either

    def count(self, envelope: Mapping[str, Any] | None) -> None:
        """Count one call that has ended."""
        if envelope is None:
            self.done += 1
        else:
            self.failed[envelope["error"]["type"]] += 1

    @property
    def ended(self) -> int:
        """How many calls have ended."""
        return self.done + self.failed.total()

    @property
    def found(self) -> int:
        """How many files there were to look at."""
        return self.ended + self.skipped + self.passed_over

    def words(self, plugin: str) -> str:
        """Return it all as one line."""
        failed = self.failed - Counter({ErrorType.VALIDATION_ERROR.value: self.absent})
        by_type = [f"{number} {name}" for name, number in failed.most_common()]
        images = counted(self.ended - self.absent, "image")
        parts = [f"{images}: {', '.join([f'{self.done} done', *by_type])}"]
        if self.absent:
            parts.append(f"{counted(self.absent, 'path')} with nothing there")
        if self.skipped:
            parts.append(f"{self.skipped} skipped, with a result already")
        if self.passed_over:
            parts.append(f"{self.passed_over} passed over, of no type that {plugin} takes")
        return "; ".join(parts)
