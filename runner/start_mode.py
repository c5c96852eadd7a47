"""How a plugin's calls start: warm or cold, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.ending import StartMode


@dataclass(frozen=True, slots=True)
class Start:
    """How calls start, and what keeps them from being warm.

    ``mode`` is "warm" (forked from the loaded plugin), "cold" (each call loads it anew),
    "resident" (one process serves many calls) or "failed" (it cannot be loaded).
    """

    mode: StartMode | Literal["failed"]
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.mode}: {'; '.join(self.reasons)}" if self.reasons else self.mode


def calls_together(manifest: Manifest, settings: Settings) -> int:
    """Return how many calls of a plugin one process serves at once, at most."""
    mode, _ = start_asked(manifest, settings)
    return min(manifest.batch, settings.max_batch) if mode == "resident" else 1


def start_asked(manifest: Manifest, settings: Settings) -> tuple[StartMode, tuple[str, ...]]:
    """Return how a plugin's calls shall start, and why not as it asks for."""
    if manifest.start == "cold":
        return "cold", ('its manifest says start = "cold"',)
    if manifest.start != "resident":
        return "warm", ()
    if {"*", manifest.plugin} & set(settings.allow_resident):
        return "resident", ()
    reason = (
        'its manifest says start = "resident", which the operator has not allowed: add '
        f'"{manifest.plugin}" to allow_resident in the settings'
    )
    return "cold", (reason,)
