"""The manifest of a migrated plugin as TOML: what its author said, in Toolrunner's words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from migration.intake import intake
from migration.shape import Shape, Tool

# A one-pixel picture, for the sample call of `toolrunner plugins check`.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8"
    "z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_NOT_IN_NAME = re.compile(r"[^a-z0-9-]+")
# A manifest may be 64 KiB, and its lines 4 KiB.
_MOST_CHARACTERS = 40_000
_LONGEST_LINE = 4000
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
    not_requirements: list[str] = field(default_factory=list)
    tools: dict[str, Tool] = field(default_factory=dict)
    error_key: str = ""

    def rename(self, names: Mapping[str, str]) -> None:
        """Take another name if somebody chose one; ``names`` has legal ones."""
        self.name = names.get(legal_name(self.name), self.name)

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
    if facts.error_key:
        lines.append(f"error_key = {_value(facts.error_key)}")
    if shape.has_tools:
        return [*lines, *_tools(shape.tools or {})]
    schema = _input_schema(shape)
    table = _table("tool.toolrunner.input_schema", schema) if schema else []
    if sum(map(len, table)) > _MOST_CHARACTERS:
        schema.pop("allOf", None)
        table = _table("tool.toolrunner.input_schema", schema)
    return [*lines, *([""] if table else []), *table]


def _tools(tools: Mapping[str, Tool]) -> list[str]:
    """Return the table of each tool; without schemas where there is no room for them."""
    found = {name: _tool(one) for name, one in tools.items()}
    for dropped in ("", "output_schema", "input_schema"):
        for one in found.values():
            one.pop(dropped, None)
        lines: list[str] = []
        for name, one in found.items():
            lines += ["", *_table(f"tool.toolrunner.tools.{_key(name)}", one)]
        if sum(map(len, lines)) <= _MOST_CHARACTERS:
            break
    return lines


def _tool(tool: Tool) -> dict[str, Any]:
    table: dict[str, Any] = {}
    if tool.description:
        table["description"] = _one_line(tool.description)[:1000]
    kind = intake(tool).kind
    if kind != "json":
        table["input"] = kind
    elif tool.properties:
        table["input_schema"] = {**_object(tool), "examples": [_sample(tool)]}
    if tool.outputs:
        table["output_schema"] = tool.outputs
    return table


def head(facts: Facts) -> list[str]:
    """Return the lines above the table: PEP 723's own keys."""
    lines = [f"requires-python = {_value(facts.requires_python or '>=3.11')}"]
    if facts.dependencies:
        return [*lines, "dependencies = [", *(f"    {_value(d)}," for d in facts.dependencies), "]"]
    return [*lines, "dependencies = []"]


def _input_schema(shape: Shape) -> dict[str, Any]:
    if shape.schema is not None:
        return {**_object(shape.schema), "examples": [_sample(shape.schema)]}
    if shape.tools is None:
        # Which of them it needs nobody said: they are for the sample call alone.
        sample = {key: "" for key in shape.keys if not key.startswith("$")}
        return {"type": "object", "examples": [sample]} if sample else {}
    tools = shape.tools
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
            sample[name] = _sample_value(schema)
    return sample


def _sample_value(schema: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    kinds = schema.get("type", "")
    value = _SAMPLES.get(kinds if isinstance(kinds, str) else kinds[0], "")
    return max(value, schema.get("minimum", value)) if isinstance(value, int | float) else value


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
    # TOML's strings are JSON's, but for a lone surrogate, and DEL, which has to be escaped.
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _one_line(text: str) -> str:
    """Return printable text in one line, as a listing shows it."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
