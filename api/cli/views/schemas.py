"""What a plugin takes and returns, from its schemas, in a few lines for a person.

Called by ``plugins``. A schema is its author's: it is only ever shown, and cut where it is long.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from toolrunner.api.typed_source import found_in

_MOST_PROPERTIES = 30
_LONGEST = 200
_DEEPEST = 8


def schema_rows(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what ``plugins show`` tells of a plugin's schemas, each with a word for it."""
    taken, returned = document.get("input_schema"), document.get("output_schema")
    if taken:
        yield "takes", _Types(taken).properties()
        if taken.get("examples"):
            yield "for example", _cut(json.dumps(taken["examples"][0], ensure_ascii=False))
    if returned:
        yield "returns", _Types(returned).properties()
    if document.get("error_key"):
        yield "error key", f"{document['error_key']}: a result that has it is an error"


class _Types:
    """The types of one schema, in words."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema

    def properties(self) -> str:
        """Return a line for each property."""
        whole = self._led_to(self._schema)
        known, required = whole.get("properties") or {}, whole.get("required") or ()
        names = [*known, *(name for name in required if name not in known)]
        lines = [
            self._property(name, known.get(name, {}), is_required=name in required)
            for name in islice(names, _MOST_PROPERTIES)
        ]
        if len(names) > _MOST_PROPERTIES:
            lines.append(f"… and {len(names) - _MOST_PROPERTIES} more")
        return "\n".join(lines) or "any object"

    def _property(self, name: str, schema: object, *, is_required: bool) -> str:
        about = {**self._led_to(schema), **(schema if isinstance(schema, Mapping) else {})}
        words = [self._type(schema, 0), *(["required"] if is_required else [])]
        if "default" in about:
            words.append(f"default {_json(about['default'])}")
        told = f"{name}: {', '.join(words)}"
        description = about.get("description")
        return _cut(f"{told}; {description}" if isinstance(description, str) else told)

    def _type(self, schema: object, depth: int) -> str:
        about = self._led_to(schema)
        if depth > _DEEPEST:
            return "anything"
        if "const" in about:
            return _json(about["const"])
        if isinstance(about.get("enum"), list):
            return f"one of {', '.join(map(_json, about['enum']))}"
        for several in ("anyOf", "oneOf"):
            if isinstance(about.get(several), list):
                kinds = (self._type(one, depth + 1) for one in about[several])
                return " or ".join(dict.fromkeys(kinds))
        kind, items = about.get("type", self._unsaid(about, depth)), about.get("items")
        if kind == "array" and isinstance(items, Mapping):
            of = self._type(items, depth + 1)
            return "array" if of == "anything" else f"array of {of}"
        return " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind)

    def _unsaid(self, about: Mapping[str, Any], depth: int) -> str:
        """Return the type of a schema that names none itself."""
        if "properties" in about:
            return "object"
        parts = about.get("allOf")
        kinds = [self._type(one, depth + 1) for one in parts] if isinstance(parts, list) else []
        return next((kind for kind in kinds if kind != "anything"), "anything")

    def _led_to(self, schema: object) -> Mapping[str, Any]:
        """Return what the references of a schema lead to in the whole one."""
        for _ in range(_DEEPEST):
            if not isinstance(schema, Mapping):
                break
            if not isinstance(schema.get("$ref"), str):
                return schema
            schema = found_in(self._schema, schema["$ref"])
        return {}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… (--json has all)"
