"""Figures as a person reads them."""

from __future__ import annotations

import math

import pytest

from toolrunner.api.page.rendering import at_most, rate


@pytest.mark.parametrize(
    ("per_second", "words"),
    [
        (None, "\N{EN DASH}"),
        (0, "0/s"),
        (1234.5, "1,234/s"),
        (12, "12/s"),
        (1.25, "1.2/s"),
        (0.5, "30/min"),
        (0.02, "1.2/min"),
        (1 / 300, "12/h"),
        (1 / 7200, "0.5/h"),
    ],
)
def test_a_rate_is_in_a_time_in_which_it_happens(per_second: float | None, words: str) -> None:
    """Nobody counts thousandths of a call."""
    assert rate(per_second) == words


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (None, "\N{EN DASH}"),
        (2.5, "\N{LESS-THAN OR EQUAL TO} 2.5 ms"),
        (5000, "\N{LESS-THAN OR EQUAL TO} 5.0 s"),
        (math.inf, "> 1 min"),
    ],
)
def test_a_time_by_buckets_is_a_bound(ms: float | None, words: str) -> None:
    """Also beyond the last of them."""
    assert at_most(ms) == words
