"""What a regular expression of a plugin's schema may take on one string, at worst.

``schema`` asks before it matches: Python's matcher backtracks, holds the interpreter's lock and
cannot be stopped, and pattern and string come from people whom nobody trusts. Never matches.
"""

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from re import _constants as codes  # type: ignore[attr-defined]  # private, as is the next
from re import _parser as parser  # type: ignore[attr-defined]  # the only reader of patterns
from typing import Any, NamedTuple

# Less than a tenth of a second, in which nobody else can run: a step took up to 16 ns.
MAX_STEPS = 5 * 10**6
MAX_BYTES = 64 << 20
_ONE_WAY = frozenset({codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.AT, codes.CATEGORY})
_REPEATS = frozenset({codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT})
_ASSERTIONS = frozenset({codes.ASSERT, codes.ASSERT_NOT})
_CHARACTERS = frozenset({codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.IN})
_ENDS = frozenset({codes.AT_END, codes.AT_END_STRING})
_FEW = 64
_SMALL_SET = 16  # what so many ranges hold is found in one step
# What the matcher remembers of one turn of a repeat, and of each group in it.
_TURN_BYTES, _GROUP_BYTES = 64, 16


class Cost(NamedTuple):
    """What a part of a pattern takes on a string; all bounds, and ``inf`` for too much.

    ``ways``: in how many ways it can match, each of which what follows may be tried after.
    ``steps``: of the matcher, for all of them. ``turns``: of repeats, remembered at once.
    """

    steps: float
    ways: float = 1.0
    turns: float = 0.0


_UNKNOWN = Cost(math.inf, math.inf, math.inf)


def worst_cost(pattern: str, length: int) -> tuple[float, float]:
    """Return how many steps the matcher may take on a string of ``length``, and how many bytes.

    Upper bounds, not estimates: repeats inside repeats are taken as exponential even where the
    pattern is unambiguous. Raises ``re.error`` for what is no pattern.
    """
    tree = _parsed(pattern)
    starts = 1 if _is_anchored(tree) else length + 1
    is_plain = not tree.state.flags & (re.IGNORECASE | re.MULTILINE)
    cost = _of_all(list(tree), length, ends_known=is_plain)
    groups = tree.state.groups
    return starts * cost.steps, cost.turns * (_TURN_BYTES + _GROUP_BYTES * groups)


@lru_cache(maxsize=256)
def _parsed(pattern: str) -> Any:  # noqa: ANN401 - the parser's tree has no public type
    return parser.parse(pattern)


def _is_anchored(tree: Any) -> bool:  # noqa: ANN401 - see _parsed
    return (
        len(tree) > 0
        and tuple(tree[0]) == (codes.AT, codes.AT_BEGINNING)
        and not tree.state.flags & re.MULTILINE
    )


def _of_all(tree: Sequence[Any], length: int, *, ends_known: bool = False) -> Cost:
    """What follows is tried after each way of what was before.

    ``ends_known``: a repeat ends where no more of it comes, if what follows begins otherwise.
    """
    steps, ways, turns = 1.0, 1.0, 0.0
    for number, (code, argument) in enumerate(tree):
        cost = _of(code, argument, length)
        if ends_known:
            looks, ends = _looks_at_each_end(code, argument, tree[number + 1 :])
            if looks:
                cost = Cost(cost.steps + cost.ways * looks, ends, cost.turns)
        steps += ways * cost.steps
        ways *= cost.ways
        turns += cost.turns
    return Cost(steps, ways, turns)


def _of(code: object, argument: Any, length: int) -> Cost:  # noqa: ANN401 - see _parsed
    if code in _ONE_WAY:
        return Cost(1.0)
    if code is codes.IN:
        return Cost(max(1.0, len(argument) / _SMALL_SET))
    if code in _REPEATS:
        least, most, repeated = argument
        return _of_repeat(int(least), int(most), repeated, length)
    if code is codes.SUBPATTERN:
        return _of_all(list(argument[-1]), length)
    if code is codes.BRANCH:
        branches = [_of_all(list(branch), length) for branch in argument[1]]
        return Cost(
            sum(branch.steps for branch in branches),
            sum(branch.ways for branch in branches),
            max(branch.turns for branch in branches),
        )
    if code in _ASSERTIONS:
        return _of_all(list(argument[1]), length)
    return _UNKNOWN  # back references and whatever comes next


def _of_repeat(least: int, most: int, repeated: Any, length: int) -> Cost:  # noqa: ANN401 - see _parsed
    is_plain = _is_one(repeated)
    inner = Cost(1.0) if is_plain else _of_all(list(repeated), length)
    shortest, _ = repeated.getwidth()
    # What takes nothing of the string is repeated all the same, as often as it has to be.
    times = min(most, length // shortest + 1 if shortest else least + length + 1)
    try:
        ends = inner.ways**times
    except OverflowError:
        return _UNKNOWN
    return Cost(
        1.0 + times * inner.steps * ends,
        (max(0, times - least) + 1) * ends,
        0.0 if is_plain else times * (1.0 + inner.turns),
    )


def _is_one(repeated: Any) -> bool:  # noqa: ANN401 - see _parsed
    """Whether one character is repeated, of which nothing is remembered."""
    return len(repeated) == 1 and repeated[0][0] in _CHARACTERS


def _looks_at_each_end(
    code: object,
    argument: Any,  # noqa: ANN401 - see _parsed
    after: Sequence[Any],
) -> tuple[int, float]:
    """Return how much is looked at after each end of a repeat, and after how many not in vain.

    0 where what follows may begin as what is repeated does.
    """
    if code not in _REPEATS or not _is_one(argument[2]):
        return 0, 0.0
    [repeated] = argument[2]
    for looks, (next_code, next_argument) in enumerate(after, 1):
        if next_code is codes.AT and next_argument in _ENDS:
            return looks, 2.0  # "$" is before a last newline, too
        least, what = 1, (next_code, next_argument)
        if next_code in _REPEATS and _is_one(next_argument[2]):
            least, [what] = int(next_argument[0]), next_argument[2]
        first = _few(*what)
        if not first or any(_may_be(character, *repeated) for character in first):
            return 0, 0.0
        if least:
            return looks, 1.0
    return 0, 0.0


def _few(code: object, argument: Any) -> list[int]:  # noqa: ANN401 - see _parsed
    """Return the characters that these are, if they are few."""
    if code is codes.LITERAL:
        return [argument]
    found: list[int] = []
    for kind, what in argument if code is codes.IN else ():
        if kind is codes.LITERAL:
            found.append(what)
        elif kind is codes.RANGE and what[1] - what[0] < _FEW:
            found += range(what[0], what[1] + 1)
        else:
            return []
    return found if len(found) <= _FEW else []


def _may_be(character: int, code: object, argument: Any) -> bool:  # noqa: ANN401 - see _parsed
    if code is codes.LITERAL:
        return bool(argument == character)
    if code is codes.NOT_LITERAL:
        return bool(argument != character)
    if code is not codes.IN:
        return True
    is_negated = argument[0][0] is codes.NEGATE
    is_in, may_be_in = False, False
    for kind, what in argument[is_negated:]:
        if kind is codes.CATEGORY:
            may_be_in = True
        else:
            low, high = what if kind is codes.RANGE else (what, what)
            is_in = is_in or low <= character <= high
    return not is_in if is_negated else is_in or may_be_in
