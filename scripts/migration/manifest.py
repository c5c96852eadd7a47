"""The manifest of a migrated plugin as TOML: what its author said, in Toolrunner's words."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from migration.shape import Shape, Tool

# A one-pixel picture, for the sample call of `toolrunner plugins check`.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8"
    "z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_NOT_IN_NAME = re.compile(r"[^a-z0-9-]+")
_LONGEST_LINE = 4000
_TYPES = {"string", "integer", "number", "boolean", "object", "array"}
_TYPE_WORDS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_KEPT = {"type", "description", "default", "enum", "items", "properties", "required", "minimum",
         "maximum", "pattern", "minLength", "maxLength", "format", "title"}  # fmt: skip
_SAMPLES: dict[str, Any] = {
    "string": "", "integer": 1, "number": 1.0, "boolean": False, "object": {}, "array": [],
}  # fmt: skip


@dataclass(slots=True)
class Facts:
    """What the plugin's metadata say, from wherever they were read; "" for what they do not."""

    name: str = ""
    version: str = ""
    description: str = ""
    requires_python: str = ""
    dependencies: list[str] | None = None  # not known
    tools: dict[str, Tool] = field(default_factory=dict)

    def fill(self, other: dict[str, str]) -> None:
        """Take from ``other`` what is not known yet."""
        self.name = self.name or other.get("name", "")
        self.version = self.version or other.get("version", "")
        self.description = self.description or other.get("description", "")


def legal_name(text: str) -> str:
    """Return the name nearest to ``text`` that a plugin may have."""
    return _NOT_IN_NAME.sub("-", text.lower()).lstrip("-")[:64].rstrip("-") or "plugin"


def tool_table(facts: Facts, shape: Shape, entry: str) -> list[str]:
    """Return the lines of ``[tool.toolrunner]``."""
    lines = ["[tool.toolrunner]", f"name = {_value(legal_name(facts.name))}"]
    for key, text, most in (
        ("version", facts.version, 64),
        ("description", facts.description, 1000),
    ):
        if text:
            lines.append(f"{key} = {_value(_one_line(text)[:most])}")
    lines.append(f"input = {_value(shape.input)}")
    if entry:
        lines.append(f"entry = {_value(entry)}")
    schema = _input_schema(facts, shape)
    return lines + (["", *_table("tool.toolrunner.input_schema", schema)] if schema else [])


def head(facts: Facts) -> list[str]:
    """Return the lines above the table: PEP 723's own keys."""
    lines = [f"requires-python = {_value(facts.requires_python or '>=3.11')}"]
    if facts.dependencies:
        return [*lines, "dependencies = [", *(f"    {_value(d)}," for d in facts.dependencies), "]"]
    return [*lines, "dependencies = []"]


def _input_schema(facts: Facts, shape: Shape) -> dict[str, Any]:
    if shape.schema is not None:
        return {**_object(shape.schema), "examples": [_sample(shape.schema)]}
    if shape.tools is None:
        # Which of them it needs nobody said: they are for the sample call alone.
        sample = dict.fromkeys(shape.keys, "")
        return {"type": "object", "examples": [sample]} if sample else {}
    tools = {
        name: _merged(facts.tools.get(name), shape.tools.get(name))
        for name in {**facts.tools, **shape.tools}
    }
    schema: dict[str, Any] = {"type": "object", "required": ["tool"]}
    tool: dict[str, Any] = {"type": "string"}
    if tools:
        tool = {"enum": list(tools)}
        first, one = next(iter(tools.items()))
        schema["examples"] = [{"tool": first, "args": _sample(one)}]
        rules = [_rule(name, one) for name, one in tools.items() if one.properties]
        if rules:
            schema["allOf"] = rules
    return {**schema, "properties": {"tool": tool, "args": {"type": "object"}}}


def _merged(said: Tool | None, coded: Tool | None) -> Tool:
    """Return what the metadata say of a tool, with what its code shows to be required."""
    if said is None or not said.properties:
        return coded or said or Tool()
    return Tool(said.properties, said.required or (coded.required if coded else ()))


def _rule(name: str, tool: Tool) -> dict[str, Any]:
    return {
        "if": {"properties": {"tool": {"const": name}}},
        "then": {"properties": {"args": _object(tool)}},
    }


def _object(tool: Tool) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": tool.properties}
    if tool.required:
        schema["required"] = list(tool.required)
    return schema


def _sample(tool: Tool) -> dict[str, Any]:
    """Return arguments to try a tool on: those it needs, and a picture where it takes one.

    Where nobody said which it needs, all that have no default.
    """
    sample: dict[str, Any] = {}
    needed = tool.required or [
        n for n, schema in tool.properties.items() if "default" not in schema
    ]
    for name, schema in tool.properties.items():
        if "base64" in name or "b64" in name or name in tool.in_bytes:
            sample[name] = PIXEL
        elif name in needed:
            sample[name] = schema.get("default", _SAMPLES.get(schema.get("type", ""), ""))
    return sample


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
        if isinstance(name, str) and isinstance(one, dict)
    }


def _tool_said(one: dict[str, Any]) -> Tool:
    said = one.get("input_schema") or one.get("inputs") or one.get("parameters") or {}
    if not isinstance(said, dict):
        return Tool()
    required: object = []
    if isinstance(said.get("properties"), dict):
        required, said = said.get("required"), said["properties"]
    names = tuple(n for n in required if isinstance(n, str)) if isinstance(required, list) else ()
    return Tool({str(name): _property(value) for name, value in said.items()}, names)


def _property(value: object) -> dict[str, Any]:
    """Return one argument as JSON Schema: "integer" and {"type": "int", "min": 1} are known too."""
    if isinstance(value, str):
        value = {"type": value}
    if not isinstance(value, dict):
        return {}
    renamed = {"min": "minimum", "max": "maximum"}
    schema = {renamed.get(key, key): part for key, part in value.items()}
    kind = schema.get("type")
    if isinstance(kind, str):
        word = _TYPE_WORDS.get(kind.rstrip("?"), kind.rstrip("?"))
        schema["type"] = word if not kind.endswith("?") else [word, "null"]
        if word not in _TYPES:
            del schema["type"]
    return {key: part for key, part in schema.items() if key in _KEPT and _is_json(part)}


def _is_json(part: object) -> bool:
    """Tell whether TOML has a form for a value: it knows no null."""
    if isinstance(part, dict):
        return all(map(_is_json, part.values()))
    if isinstance(part, list):
        return all(map(_is_json, part))
    return part is not None and not (isinstance(part, float) and not math.isfinite(part))


def _table(name: str, table: dict[str, Any]) -> list[str]:
    """Return a table with its sub-tables, each list of tables an element a line."""
    lines: list[str] = []
    for key, value in table.items():
        if isinstance(value, list) and any(isinstance(one, dict) for one in value):
            elements = [f"    {_value(one)}," for one in value]
            fitting = [line for line in elements if len(line) <= _LONGEST_LINE]
            lines += [f"{_key(key)} = [", *fitting, "]"] if fitting else []
        elif not isinstance(value, dict):
            lines.append(f"{_key(key)} = {_value(value)}")
    if lines or not table:
        lines.insert(0, f"[{name}]")
    for key, value in table.items():
        if isinstance(value, dict):
            lines += [*([""] if lines else []), *_table(f"{name}.{_key(key)}", value)]
    return lines


def _key(text: str) -> str:
    return text if _BARE_KEY.fullmatch(text) else _value(text)


def _value(value: object) -> str:
    """Return a value in one line of TOML."""
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(str(key))} = {_value(part)}" for key, part in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(_one_line(str(value)), ensure_ascii=False)


def _one_line(text: str) -> str:
    """Return printable text in one line; TOML could not carry all of the rest."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
