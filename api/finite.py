"""Numbers out of JSON that anybody may have written."""

from __future__ import annotations

import math


def finite(value: object) -> float | None:
    """Return a value as a number; ``None`` for what is none, or none that can be reckoned with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
