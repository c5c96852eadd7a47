"""How a plugin's calls start: warm or cold, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Start:
    """``mode``: "warm" (forked from the loaded plugin), "cold" (loaded anew by each call), or

    "failed" (it cannot be loaded). ``reasons`` say why it is not warm.
    """

    mode: str
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.mode}: {'; '.join(self.reasons)}" if self.reasons else self.mode
