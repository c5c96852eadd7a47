"""JSON text of values that were checked, written without stopping other threads for long.

``Payload`` and the HTTP answers use it. What is small is written by the C encoder at once. It holds
the interpreter's lock, so of what is large it gets a run of plain values at a time.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

_RUN = 1000  # values that are written at once
_TEXT = 64 * 1024  # characters that are written at once
_LEAVES = frozenset({str, int, float, bool, type(None)})
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def dumps(value: object) -> bytes:
    """Return a value as compact JSON in UTF-8; raises what ``json.dumps`` does for what is none."""
    if _is_small(value):
        return _encoded(value)
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def _encoded(value: object) -> bytes:
    return _ENCODER.encode(value).encode()


def _is_small(root: object) -> bool:
    """Tell whether a value may be written at once; looks at no more than that many."""
    left, values, characters = [root], 0, 0
    while left:
        value = left.pop()
        values += 1
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, dict | list | tuple):
            if len(value) + len(left) > _RUN:
                return False
            if isinstance(value, dict):
                if not _has_texts_for_keys(value):
                    return True  # the encoder knows what to do
                characters += sum(map(len, value))
                left += value.values()
            else:
                left += value
        if values > _RUN or characters > _TEXT:
            return False
    return True


def _write(value: Any, parts: list[bytes]) -> None:  # noqa: ANN401 - a JSON value
    if isinstance(value, str) and len(value) > _TEXT:
        texts = (value[at : at + _TEXT] for at in range(0, len(value), _TEXT))
        parts += [b'"', *(_encoded(text)[1:-1] for text in texts), b'"']
    elif isinstance(value, dict):
        _write_object(value, parts)
    elif isinstance(value, list | tuple):
        _write_list(value, parts)
    else:
        parts.append(_encoded(value))


def _write_object(value: dict[str, Any], parts: list[bytes]) -> None:
    if not _has_texts_for_keys(value):
        parts.append(_encoded(value))
        return
    items = iter(value.items())
    separator = b"{"
    while run := dict(islice(items, _RUN)):
        if _are_leaves(list(run.values())) and sum(map(len, run)) <= _TEXT:
            parts += [separator, _encoded(run)[1:-1]]
            separator = b","
            continue
        for key, inner in run.items():
            parts.append(separator)
            _write(key, parts)
            parts.append(b":")
            _write(inner, parts)
            separator = b","
    parts.append(b"}" if value else b"{}")


def _write_list(value: list[Any] | tuple[Any, ...], parts: list[bytes]) -> None:
    separator = b"["
    for at in range(0, len(value), _RUN):
        run = value[at : at + _RUN]
        if _are_leaves(run):
            parts += [separator, _encoded(run)[1:-1]]
            separator = b","
            continue
        for inner in run:
            parts.append(separator)
            _write(inner, parts)
            separator = b","
    parts.append(b"]" if value else b"[]")


def _has_texts_for_keys(value: dict[Any, Any]) -> bool:
    return set(map(type, value)) <= {str}


def _are_leaves(values: list[Any] | tuple[Any, ...]) -> bool:
    """Tell whether values may be written at once: none holds others, and none is a long text."""
    return set(map(type, values)) <= _LEAVES and (
        sum(len(value) for value in values if type(value) is str) <= _TEXT
    )
