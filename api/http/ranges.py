"""What a request wants of something that is named by its content: all, a piece, or nothing new.

RFC 9110, sections 13 and 14, as far as they concern one entity tag and bytes. Knows no framework.
"""

from __future__ import annotations

import re

# A number of more digits is beyond any size, and one of thousands of them takes long to read.
_RANGE = re.compile(r"bytes=[ \t,]*([0-9]{0,100})-([0-9]{0,100})[ \t,]*", re.IGNORECASE)


class UnsatisfiableError(Exception):
    """The range that is wanted lies beyond the end."""


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Tell whether the client says that it has what ``tag`` names already."""
    if if_none_match is None:
        return False
    known = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in known or known == ["*"]


def wanted_range(
    header: str | None, if_range: str | None, tag: str, size: int
) -> tuple[int, int] | None:
    """Return where the wanted bytes begin and end; ``None`` when all of them are wanted.

    So it is where several ranges are wanted, or what is wanted cannot be understood: both may be
    answered with everything. Raises UnsatisfiableError.
    """
    found = _RANGE.fullmatch(header) if header is not None else None
    if found is None or (if_range is not None and if_range.strip() != tag):
        return None
    first, last = found.groups()
    if not first:
        return _last_bytes(last, size)
    begin = int(first)
    if last and int(last) < begin:
        return None
    if begin >= size:
        raise UnsatisfiableError
    return begin, min(int(last) + 1, size) if last else size


def _last_bytes(count: str, size: int) -> tuple[int, int] | None:
    if not count:
        return None
    if int(count) == 0:
        raise UnsatisfiableError
    # Nothing has last bytes too: all of it.
    return (max(0, size - int(count)), size) if size else None
