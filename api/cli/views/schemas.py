"""What a plugin takes and returns, from its schemas, in a few lines for a person.

Called by ``plugins``. A schema is its author's: it is only ever shown, and cut where it is long.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

_MOST_PROPERTIES = 30
_LONGEST = 200


def schema_rows(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what ``plugins show`` tells of a plugin's schemas, each with a word for it."""
    taken, returned = document.get("input_schema"), document.get("output_schema")
    if taken:
        yield "takes", _properties(taken)
        if taken.get("examples"):
            yield "for example", _cut(json.dumps(taken["examples"][0], ensure_ascii=False))
    if returned:
        yield "returns", _properties(returned)
    if document.get("error_key"):
        yield "error key", f"{document['error_key']}: a result that has it is an error"


def _properties(schema: Mapping[str, Any]) -> str:
    """Return a line for each property."""
    known = schema.get("properties") or {}
    required = schema.get("required") or ()
    names = [*known, *(name for name in required if name not in known)]
    lines = [
        _property(name, known.get(name, {}), is_required=name in required)
        for name in islice(names, _MOST_PROPERTIES)
    ]
    if len(names) > _MOST_PROPERTIES:
        lines.append(f"… and {len(names) - _MOST_PROPERTIES} more")
    return "\n".join(lines) or "any object"


def _property(name: str, schema: Any, *, is_required: bool) -> str:  # noqa: ANN401 - its author's
    about = schema if isinstance(schema, Mapping) else {}
    words = [_type(about), *(["required"] if is_required else [])]
    if "default" in about:
        words.append(f"default {json.dumps(about['default'], ensure_ascii=False)}")
    told = f"{name}: {', '.join(words)}"
    description = about.get("description")
    return _cut(f"{told}; {description}" if isinstance(description, str) else told)


def _type(schema: Mapping[str, Any]) -> str:
    if isinstance(schema.get("enum"), list):
        return f"one of {', '.join(json.dumps(one, ensure_ascii=False) for one in schema['enum'])}"
    kind, items = schema.get("type", "anything"), schema.get("items")
    if kind == "array" and isinstance(items, Mapping) and "type" in items:
        return f"array of {_type(items)}"
    return " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… (--json has all)"
