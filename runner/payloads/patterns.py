"""How long a regular expression of a plugin's schema may take on one string, at worst.

``schema`` asks before it matches: Python's matcher backtracks, holds the interpreter's lock and
cannot be stopped, and pattern and string come from people whom nobody trusts. Never matches.
"""

import math
import re
from collections.abc import Iterable
from functools import lru_cache
from re import _constants as codes  # type: ignore[attr-defined]  # private, as is the next
from re import _parser as parser  # type: ignore[attr-defined]  # the only reader of patterns
from typing import Any

MAX_STEPS = 10**8
_ONE_WAY = frozenset(
    {codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.IN, codes.AT, codes.CATEGORY}
)
_REPEATS = frozenset({codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT})
_ASSERTIONS = frozenset({codes.ASSERT, codes.ASSERT_NOT})


def worst_steps(pattern: str, length: int) -> float:
    """Return how many ways the matcher may try on a string of ``length``; ``inf`` for too many.

    An upper bound, not an estimate: it takes repeats inside repeats as exponential even where
    the pattern is unambiguous. Raises ``re.error`` for what is no pattern.
    """
    tree = _parsed(pattern)
    starts = 1 if _is_anchored(tree) else length + 1
    return starts * _ways(tree, length)


@lru_cache(maxsize=256)
def _parsed(pattern: str) -> Any:  # noqa: ANN401 - the parser's tree has no public type
    return parser.parse(pattern)


def _is_anchored(tree: Any) -> bool:  # noqa: ANN401 - see _parsed
    return (
        len(tree) > 0
        and tuple(tree[0]) == (codes.AT, codes.AT_BEGINNING)
        and not tree.state.flags & re.MULTILINE
    )


def _ways(tree: Iterable[Any], length: int) -> float:
    ways = 1.0
    for code, argument in tree:
        ways *= _ways_of(code, argument, length)
    return ways


def _ways_of(code: object, argument: Any, length: int) -> float:  # noqa: ANN401 - see _parsed
    if code in _ONE_WAY:
        return 1.0
    if code in _REPEATS:
        least, most, repeated = argument
        return _ways_of_repeat(int(least), int(most), repeated, length)
    if code is codes.SUBPATTERN:
        return _ways(argument[-1], length)
    if code is codes.BRANCH:
        return sum(_ways(branch, length) for branch in argument[1])
    if code in _ASSERTIONS:
        return _ways(argument[1], length)
    return math.inf  # back references and whatever comes next


def _ways_of_repeat(least: int, most: int, repeated: Iterable[Any], length: int) -> float:
    times = max(min(most, length), least)
    inner = _ways(repeated, length)
    choices = times - least + 1
    try:
        return float(choices * inner**times)
    except OverflowError:
        return math.inf
