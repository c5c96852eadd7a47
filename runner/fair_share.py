"""How much of what waits may be one caller's, so that there is room for the next one to come.

For jobs and for calls. Callers are told apart by their keys; where there are none, nobody is
refused for this.
"""

from __future__ import annotations


def is_fair(caller: str, own: int, taken: int, most: int, more: int = 1) -> bool:
    """Whether a caller that has ``own`` of what is ``taken`` may have ``more`` of it.

    It may have as much as is free beside it then, of ``most`` in all: one caller half, two a third
    each. Its first is measured by nothing.
    """
    return not caller or not own or own + more <= most - taken - more
