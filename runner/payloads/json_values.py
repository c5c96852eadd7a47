"""Python values that strict JSON can carry as they are: the check, and the errors that tell.

``strict_json`` is its door and adds reading text. Values are looked through level by level, so
that neither nesting nor cycles exhaust the stack. Nothing is changed or converted.
"""

import json
import math
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple, Optional, TypeAlias

MAX_DEPTH = 100
MAX_BYTES = 256 * 2**20
MAX_INT_DIGITS = 4300  # Python's own bound for reading an int; beyond, it takes quadratic time

_Container: TypeAlias = dict[Any, Any] | list[Any] | tuple[Any, ...]
_CONTAINERS = (dict, list, tuple)
_KINDS = frozenset({dict, list, tuple, str, int, float, bool, type(None)})
_INT_BOUND = 10**MAX_INT_DIGITS
_BATCH = 50_000  # values that are looked at by one call of C code, which nothing interrupts
_ENCODED_AT_ONCE = 1 << 20  # characters
_SHOWN = 60  # characters of a key in a message


class JsonError(ValueError):
    """A value or a text is not strict JSON; the message says what is wrong, and where."""


class NotJsonError(JsonError):
    """A text is not JSON at all: a syntax error, or bytes that are not UTF-8."""


def check(
    value: object, *, max_depth: int = MAX_DEPTH, what: str = "payload", max_bytes: int = MAX_BYTES
) -> None:
    """Check that strict JSON carries ``value`` as it is; a tuple counts as a list.

    Raises ``JsonError``; its message names the place in ``what``: ``payload["a"][3]``. A value
    whose JSON text is sure to be larger than ``max_bytes`` is refused: one that holds the same
    list many times over can be small in memory and endless as text.
    """
    try:
        if not _is_plain(value, max_depth, max_bytes):
            _search(value, max_depth, max_bytes)
    except JsonError as error:
        message = f"{what}{error}"
        raise JsonError(message) from None
    except RuntimeError:  # a dict whose size changes under its reader
        message = f"{what}: changed while it was read; give each call a copy of its own"
        raise JsonError(message) from None


def too_deep(max_depth: int) -> str:
    """Return the words for nesting beyond ``max_depth``."""
    return f"nested more than {max_depth} deep; write it flatter"


def quote(key: object) -> str:
    """Return a key for a message: short, and without anything that does not print."""
    if isinstance(key, str):
        return json.dumps(key if len(key) <= _SHOWN else key[:_SHOWN] + "…")
    return repr(key) if isinstance(key, bool | None) or _is_short(key) else f"<{_kind(key)}>"


# The quick look, at C speed, which knows only that everything is fine


def _is_plain(root: object, max_depth: int, max_bytes: int) -> bool:
    """Tell whether a value is fine; False means only that ``_search`` has to look."""
    values: list[Any] = [root]
    least_bytes = 0
    for depth in range(max_depth + 1):
        inner: list[Any] = []
        containers: set[int] = set()
        seen = 0
        for start in range(0, len(values), _BATCH):
            level = _Level(values[start : start + _BATCH])
            least_bytes += level.least_bytes
            if least_bytes > max_bytes or not level.is_plain():
                return False
            containers.update(map(id, level.containers))
            seen += len(level.containers)
            if len(containers) < seen:
                return False  # one occurs twice: then levels could grow without end
            for container in level.containers:
                inner += container.values() if isinstance(container, dict) else container
        if not seen:
            return True
        if depth == max_depth:
            return False
        values = inner
    return False


class _Level:
    """Some of the values of one level, by their kinds."""

    def __init__(self, values: list[Any]) -> None:
        self._by_kind = by_kind = _by_kind(values)
        dicts = by_kind.get(dict, [])
        self.containers = by_kind.get(list, []) + by_kind.get(tuple, []) + dicts
        self._strings = list(chain(by_kind.get(str, []), chain.from_iterable(dicts)))
        self._are_text = set(map(type, self._strings)) <= {str}
        self.least_bytes = len(values)
        if self._are_text:
            self.least_bytes += sum(map(len, self._strings))

    def is_plain(self) -> bool:
        """Tell whether nothing is wrong with these, but for what the containers hold."""
        return (
            self._by_kind.keys() <= _KINDS
            and self._are_text
            and _are_numbers(self._by_kind)
            and _are_strings(self._strings)
        )


def _by_kind(values: list[Any]) -> dict[type, list[Any]]:
    kinds = set(map(type, values))
    if len(kinds) == 1:
        return {kinds.pop(): values}
    return {kind: [value for value in values if type(value) is kind] for kind in kinds}


def _are_numbers(by_kind: dict[type, list[Any]]) -> bool:
    integers = by_kind.get(int, [0])
    if min(integers) <= -_INT_BOUND or max(integers) >= _INT_BOUND:
        return False
    return all(map(math.isfinite, by_kind.get(float, [])))


def _are_strings(strings: list[Any]) -> bool:
    return all(map(str.isascii, strings)) or all(map(_encodes, strings))


# The slow look, which finds and names the fault


class _Trail(NamedTuple):
    """How a value was reached: its container's trail, and its key there."""

    parent: Optional["_Trail"]
    key: object
    value: Any

    def steps(self) -> Iterator["_Trail"]:
        trail: _Trail | None = self
        while trail is not None:
            yield trail
            trail = trail.parent

    def fault(self, words: str) -> JsonError:
        """Return the error that says ``words`` of the value at the end of this trail."""
        keys = [f"[{quote(step.key)}]" for step in self.steps() if step.parent is not None]
        return JsonError(f"{''.join(reversed(keys))}: {words}")


def _search(root: object, max_depth: int, max_bytes: int) -> None:
    """Look at every value in turn; raise ``JsonError`` with the place of the first fault."""
    levels = [[trail for trail in [_Trail(None, None, root)] if _is_container(trail)]]
    while levels[-1]:
        if len(levels) > max_depth:
            raise levels[-1][0].fault(too_deep(max_depth))
        # One that occurs many times in a level is looked at once.
        found = {id(t.value): t for outer in levels[-1] for t in _inner_containers(outer)}
        levels.append(list(found.values()))
    if _least_bytes(root, levels) > max_bytes:
        words = f"its JSON text would be larger than {max_bytes // 2**20} MiB; make it smaller"
        raise _Trail(None, None, root).fault(words)


def _inner_containers(outer: _Trail) -> Iterator[_Trail]:
    """Check the keys and leaves of a container; yield the containers in it."""
    container: _Container = outer.value
    is_dict = isinstance(container, dict)
    for key, value in container.items() if isinstance(container, dict) else enumerate(container):
        if is_dict and (words := _fault_of_key(key)):
            raise outer.fault(words)
        inner = _Trail(outer, key, value)
        if not _is_container(inner):
            continue
        if any(step.value is value for step in outer.steps()):
            words = "contains itself; leave that out, or give what names it"
            raise inner.fault(words)
        yield inner


def _is_container(trail: _Trail) -> bool:
    if isinstance(trail.value, _CONTAINERS):
        return True
    if words := _fault_of_leaf(trail.value):
        raise trail.fault(words)
    return False


def _fault_of_key(key: object) -> str:
    if not isinstance(key, str):
        return f"the key {quote(key)} is of type {_kind(key)}; use a string"
    return (
        ""
        if _encodes(key)
        else f"the key {quote(key)} has a lone surrogate; decode without surrogateescape"
    )


def _fault_of_leaf(value: object) -> str:
    words = f"{_kind(value)} is not JSON; use dict, list, str, int, float, bool or None"
    match value:
        case None | bool():
            words = ""
        case str():
            words = "" if _encodes(value) else "a lone surrogate; decode without surrogateescape"
        case int():
            fits = -_INT_BOUND < value < _INT_BOUND
            words = (
                ""
                if fits
                else f"a number of more than {MAX_INT_DIGITS} digits; give it as hex() writes it"
            )
        case float():
            finite = math.isfinite(value)
            words = "" if finite else f"{value} is not JSON; use None or leave the value out"
    return words


def _least_bytes(root: object, levels: list[list[_Trail]]) -> int:
    """Return how long the JSON text is at least, from the innermost level outwards."""
    sizes: dict[int, int] = {}
    for level in reversed(levels):
        sizes = {id(trail.value): _least_of(trail.value, sizes.__getitem__) for trail in level}
    return sizes[id(root)] if sizes else _least_of_leaf(root)


def _least_of(container: _Container, size_of: Callable[[int], int]) -> int:
    total = 2
    if isinstance(container, dict):
        total += sum(map(len, container))
    for value in container.values() if isinstance(container, dict) else container:
        is_leaf = not isinstance(value, _CONTAINERS)
        total += _least_of_leaf(value) if is_leaf else size_of(id(value))
    return total


def _least_of_leaf(value: object) -> int:
    return 2 + len(value) if isinstance(value, str) else 1


def _encodes(text: str) -> bool:
    try:
        for start in range(0, len(text), _ENCODED_AT_ONCE):
            text[start : start + _ENCODED_AT_ONCE].encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_short(key: object) -> bool:
    return isinstance(key, int | float) and -(10**18) < key < 10**18


def _kind(value: object) -> str:
    return type(value).__name__
