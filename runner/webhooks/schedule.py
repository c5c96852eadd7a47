"""When a message that was not taken is posted again: the specification's schedule, with jitter."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# After the first attempt, which is made at once: ten in all, over three days.
DELAYS_SECONDS = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
# However often its address has been let rest meanwhile.
MOST_SECONDS = 4 * 86_400.0
_JITTER = 0.1
_MOST_ASKED_SECONDS = 86_400.0
_FIRST_REST_SECONDS = 5.0
_MOST_REST_SECONDS = 300.0


def next_delay(
    attempts: int, asked: float, delays: Sequence[float] = DELAYS_SECONDS
) -> float | None:
    """Return the seconds to wait after so many attempts, ``None`` after the last one.

    ``asked``: the receiver's Retry-After.
    """
    if attempts > len(delays):
        return None
    delay = delays[attempts - 1]
    # No secret depends on it: it keeps those that failed together from coming together.
    return max(delay + random.uniform(0, _JITTER * delay), asked)  # noqa: S311 - as said


def rest(failures: int, asked: float) -> float:
    """Return for how long an address is let alone after so many failures in a row.

    So one that is down costs an attempt now and then, however many messages wait for it.
    """
    doubled = _FIRST_REST_SECONDS * 2.0 ** min(failures - 1, 10)
    return max(min(doubled, _MOST_REST_SECONDS), asked)


def asked_seconds(header: str | None) -> float:
    """Return what a Retry-After asks for, as seconds or as a date; 0 for none and for nonsense."""
    if header is None:
        return 0.0
    text = header.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:10])
    else:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), _MOST_ASKED_SECONDS)
