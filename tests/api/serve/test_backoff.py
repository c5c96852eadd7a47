"""The delay before a worker is replaced: it grows, has a bound, and is forgotten."""

from __future__ import annotations

from toolrunner.api.serve.backoff import MOST_SECONDS, SETTLED_SECONDS, Backoff


def test_who_dies_again_and_again_waits_longer_each_time_up_to_a_bound() -> None:
    """A worker that cannot live costs the machine little."""
    backoff = Backoff()
    delays = [backoff.after(0) for _ in range(2000)]
    assert delays[:3] == [0.1, 0.2, 0.4]
    assert delays[-1] == MOST_SECONDS


def test_who_lived_long_is_replaced_at_once_again() -> None:
    """An old worker's death says nothing about its start."""
    backoff = Backoff()
    for _ in range(5):
        backoff.after(0)
    assert backoff.after(SETTLED_SECONDS) == 0.1
