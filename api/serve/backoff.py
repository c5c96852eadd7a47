"""How long to wait before a worker that died is started again.

One for each of the supervisor's places; it only counts, and never sleeps.
"""

from __future__ import annotations

FIRST_SECONDS = 0.1
# Nobody is served while all wait, and what keeps them from starting may be over at any time.
MOST_SECONDS = 5.0
# Who lived that long did not die of how it was started.
SETTLED_SECONDS = 10.0


class Backoff:
    """Doubles the delay with each death that follows closely on a start."""

    def __init__(self) -> None:
        self._deaths = 0

    def after(self, lived_seconds: float) -> float:
        """Return how many seconds to wait, now that one died which lived so long."""
        if lived_seconds >= SETTLED_SECONDS:
            self._deaths = 0
        # The exponent is bounded too: 2.0 ** 1024 is an OverflowError.
        delay = FIRST_SECONDS * 2.0 ** min(self._deaths, 16)
        self._deaths += 1
        return min(delay, MOST_SECONDS)
