"""How a plugin's calls start: warm or cold, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Start:
    """How calls start, and what keeps them from being warm.

    ``mode`` is "warm" (forked from the loaded plugin), "cold" (each call loads it anew) or
    "failed" (it cannot be loaded).
    """

    mode: str
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.mode}: {'; '.join(self.reasons)}" if self.reasons else self.mode
