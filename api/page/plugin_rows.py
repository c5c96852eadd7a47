"""Plugins as lists of the page show them: how each stands, and what it has done lately."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from toolrunner.api.metrics.history import History
from toolrunner.api.page import figures
from toolrunner.api.page.figures import PluginFigures
from toolrunner.runner.registry.offers import Offer
from toolrunner.runner.registry.plugin_state import PluginState, PluginStatus
from toolrunner.runner.services.plugin_management import Located


@dataclass(frozen=True, slots=True)
class PluginRow:
    """One plugin, with what it has done in the last minutes on this server."""

    status: PluginStatus
    figures: PluginFigures
    offers: tuple[Offer, ...] | None

    @property
    def standing(self) -> str:
        """How it stands, in one word."""
        return "suspended" if self.status.suspended_by else self.status.state.lower()

    @property
    def takes_none(self) -> str:
        """Why it takes no calls now; "" while it does."""
        status = self.status
        is_over = status.retry_after_seconds == 0  # of the breaker: the next call tries
        if status.suspended_by and not is_over:
            return f"It takes no calls: suspended by the {status.suspended_by}."
        if status.state == PluginState.UNAVAILABLE:
            return "It takes no calls: it cannot run here."
        return ""

    @property
    def is_well(self) -> bool:
        """Whether nobody has to look after it."""
        return self.status.is_healthy


def rows_of(found: Iterable[Located], history: History | None) -> list[PluginRow]:
    """Return a row for each plugin, in the order that they have."""
    known = figures.of_plugins(history)
    return [
        PluginRow(one.status, known.get(one.status.name, PluginFigures()), one.offers)
        for one in found
    ]


def needing_attention(rows: list[PluginRow]) -> list[PluginRow]:
    """Return them with those first that stand badly though they are used, then the busiest."""

    def order(row: PluginRow) -> tuple[bool, bool, float, str]:
        is_used = row.status.last_used is not None
        return (
            row.is_well or not is_used,
            row.status.state == PluginState.UNAVAILABLE,
            -((row.figures.rate or 0.0) + row.status.in_flight),
            row.status.name,
        )

    return sorted(rows, key=order)
