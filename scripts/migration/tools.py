"""The tools that a manifest.json declares, with their arguments as JSON Schema.

Written by hand, in forms that only look like JSON Schema: what none can be made of is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from migration.shape import PROGRESS, Tool

_TYPES = {"string", "integer", "number", "boolean", "object", "array", "null"}
_TYPE_WORDS = {
    "str": "string", "int": "integer", "float": "number", "bool": "boolean", "bytes": "string",
    "list": "array", "tuple": "array", "set": "array", "dict": "object", "mapping": "object",
    "text": "string", "double": "number",
}  # fmt: skip
_RENAMED = {"min": "minimum", "max": "maximum"}
_DEEPEST = 8


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_pattern(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(re.compile(value))
    except (re.error, RecursionError, OverflowError):
        return False


# What is kept of an argument, if it is as JSON Schema wants it.
_KEPT: dict[str, Callable[[object], bool]] = {
    "title": _is_text, "description": _is_text, "format": _is_text, "pattern": _is_pattern,
    "minimum": _is_number, "maximum": _is_number, "minLength": _is_length, "maxLength": _is_length,
    "default": lambda _: True, "enum": lambda value: isinstance(value, list),
}  # fmt: skip


def tools_said(declared: object) -> dict[str, Tool]:
    """Return the tools that a manifest.json declares: a list of tables, or a table by name."""
    entries: Sequence[tuple[object, object]] = []
    if isinstance(declared, dict):
        entries = list(declared.items())
    elif isinstance(declared, list):
        entries = [
            (one.get("id") or one.get("name"), one) for one in declared if isinstance(one, dict)
        ] + [(one, {}) for one in declared if isinstance(one, str)]
    return {
        name: _tool_said(one)
        for name, one in entries
        if isinstance(name, str) and name.isprintable() and isinstance(one, dict)
    }


def _tool_said(one: dict[str, Any]) -> Tool:
    said = one.get("input_schema") or one.get("inputs") or one.get("parameters") or {}
    description = str(one.get("description") or one.get("title") or "")
    outputs = _outputs(one.get("output_schema") or one.get("outputs"))
    named = [one[key] for key in ("handler", "function", "method") if key in one]
    handler = str(named[0]).replace(":", ".").rpartition(".")[2] if named else ""
    if not isinstance(said, dict):
        return Tool(handler=handler, description=description, outputs=outputs)
    required: tuple[str, ...] = ()
    if isinstance(said.get("properties"), dict):
        said, required = said["properties"], _names(said.get("required"))
    in_bytes = {name: True for name, part in said.items() if _is_binary(part)}
    properties = _properties({k: v for k, v in said.items() if k != PROGRESS}, 0)
    tells = PROGRESS in said
    return Tool(properties, required, in_bytes, handler, description, outputs, tells)


def _is_binary(part: object) -> bool:
    is_binary = isinstance(part, dict) and part.get("format") == "binary"
    return is_binary or _word(part) == "bytes"


def _outputs(said: object) -> dict[str, Any]:
    """Return JSON Schema of what a tool returns, as far as it is said; {} for nothing."""
    if not isinstance(said, dict):
        return {}
    required: tuple[str, ...] = ()
    declared: dict[str, Any] = said
    if isinstance(said.get("properties"), dict):
        declared, required = said["properties"], _names(said.get("required"))
    properties = _properties(declared, 0)
    if not properties:
        return {}
    needed = {"required": list(required)} if required else {}
    return {"type": "object", "properties": properties, **needed}


def _word(part: object) -> object:
    """Return the type that is said of an argument."""
    return part.get("type") if isinstance(part, dict) else part


def merged(said: Tool | None, coded: Tool | None) -> Tool:
    """Return what the metadata say of a tool, with what its code shows of it.

    Many a manifest calls bytes a string: what the code does with them decides.
    """
    if said is None or coded is None:
        return coded or said or Tool()
    used = {**said.forms, **coded.forms}
    used = {name: is_bytes for name, is_bytes in used.items() if name in said.properties}
    is_said = bool(said.properties)
    return Tool(
        said.properties or coded.properties,
        said.required if is_said and said.required else coded.required,
        used if is_said else coded.forms,
        said.handler,
        said.description or coded.description,
        said.outputs or coded.outputs,
        said.tells or coded.tells,
    )


def _properties(said: dict[str, Any], depth: int) -> dict[str, Any]:
    return {name: _property(part, depth + 1) for name, part in said.items() if _is_argument(name)}


def _is_argument(name: object) -> bool:
    """Tell whether an argument may have a name; "$ref" and its kin are JSON Schema's own."""
    return isinstance(name, str) and name.isprintable() and not name.startswith("$")


def _names(said: object) -> tuple[str, ...]:
    names = said if isinstance(said, list) else []
    return tuple(dict.fromkeys(n for n in names if _is_argument(n)))


def _property(value: object, depth: int) -> dict[str, Any]:
    """Return one argument as JSON Schema: "integer" and {"type": "int", "min": 1} are known too."""
    if isinstance(value, str):
        value = {"type": value}
    if not isinstance(value, dict) or depth > _DEEPEST:
        return {}
    said = {_RENAMED.get(key, key): part for key, part in value.items()}
    schema = {k: said[k] for k, fits in _KEPT.items() if k in said and fits(said[k])}
    schema = {key: part for key, part in schema.items() if _has_toml(part, 0)}
    kinds = _types(said.get("type"))
    if kinds:
        schema["type"] = kinds[0] if len(kinds) == 1 else kinds
    if isinstance(said.get("items"), dict | str):
        schema["items"] = _property(said["items"], depth + 1)
    if isinstance(said.get("properties"), dict):
        schema["properties"] = _properties(said["properties"], depth + 1)
        schema["required"] = list(_names(said.get("required")))
    return schema


def _types(said: object) -> list[str]:
    """Return the types of an argument; "string?" may be null. Empty if one of them is unknown."""
    words = said if isinstance(said, list) else [said]
    kinds: list[str] = []
    for word in words:
        if not isinstance(word, str):
            return []
        # "list[str]" and "array<string>" are lists, of whatever.
        bare = re.split(r"[\[<]", word.removesuffix("?"), maxsplit=1)[0].strip().lower()
        kinds += [_TYPE_WORDS.get(bare, bare), *(["null"] if word.endswith("?") else [])]
    return list(dict.fromkeys(kinds)) if set(kinds) <= _TYPES else []


def _has_toml(part: object, depth: int) -> bool:
    """Tell whether TOML has a form for a value: it knows no null, and a manifest little depth."""
    if depth > _DEEPEST:
        return False
    if isinstance(part, dict):
        return all(key.isprintable() and _has_toml(one, depth + 1) for key, one in part.items())
    if isinstance(part, list):
        return all(_has_toml(one, depth + 1) for one in part)
    if isinstance(part, int):
        return -(1 << 63) <= part < 1 << 63
    return part is not None and not (isinstance(part, float) and not math.isfinite(part))
