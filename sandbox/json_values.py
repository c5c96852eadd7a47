"""How many values the JSON text of a report holds, known before anybody parses it.

For what a cell sends beside its reply (progress, exceptions, log records): small flat objects,
whose text is capped. A few hundred kilobytes of brackets would become many megabytes of lists.
"""

from __future__ import annotations

import re

MOST_VALUES = 64

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)


def count_values(text: bytes) -> int:
    """Return at least how many values a text holds, whatever stands in its strings."""
    bare = _STRING.sub(b"", text)
    return 1 + bare.count(b",") + bare.count(b"[") + bare.count(b"{")
