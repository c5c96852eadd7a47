"""A large JSON value with short words for each of its parts.

jsonschema puts what does not fit into its messages whole, by ``repr``: of millions of values that
takes seconds, in one step that lets no other thread run.
"""

from __future__ import annotations

from typing import Any

_FEW = 2_000  # values, or characters of one text: messages may have all of it


class _Object(dict[str, Any]):
    __slots__ = ()

    def __repr__(self) -> str:
        return f"an object of {len(self):,} properties"


class _Array(list[Any]):
    __slots__ = ()

    def __repr__(self) -> str:
        return f"an array of {len(self):,} items"


class _Text(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return f"{str.__repr__(self[:40])[:-1]}…' ({len(self):,} characters)"


def briefly_told(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value itself, or an equal one whose parts have short words if it is large."""
    return _brief(value) if _is_large(value) else value


def _is_large(value: object) -> bool:
    left, waiting = _FEW, [value]
    while waiting and left > 0:
        one = waiting.pop()
        if isinstance(one, str):
            left -= len(one)
        elif isinstance(one, dict):
            left -= len(one)
            waiting += list(one.values()) if left > 0 else ()
        elif isinstance(one, list | tuple):
            left -= len(one)
            waiting += one if left > 0 else ()
    return left <= 0


def _brief(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return _Object((key, _brief(inner)) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return _Array(_brief(inner) for inner in value)
    if isinstance(value, str) and len(value) > _FEW:
        return _Text(value)
    return value
