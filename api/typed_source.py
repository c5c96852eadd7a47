"""Python source with the types of a plugin's payloads and results, made from its schemas.

``toolrunner plugins show NAME --types`` prints it, for callers to keep beside their code. What a
schema says beyond shapes (patterns, least values) no type can say; what none can be made of is Any.
"""

from __future__ import annotations

import keyword
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from toolrunner.plugins.manifest import Manifest

_HEAD = '''"""{what}

Made by `toolrunner plugins show {name} --types`: make it anew when the plugin has changed.
"""

{imports}

from toolrunner import Call, ToolRunner
from toolrunner.runner.envelope import Envelope
'''
_FUNCTION = '''def {function}(
    tool_runner: ToolRunner, payload: {payload}, *, call: Call | None = None
) -> tuple[{result} | Any, Envelope | None]:
    """Run {name} once, as ToolRunner.run does."""
    {body}
'''
_TYPED = """result, error = tool_runner.run("{name}", payload, call=call)
    return cast("{result} | Any", result), error"""
_UNTYPED = 'return tool_runner.run("{name}", payload, call=call)'
_PLAIN = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
}
# Of payloads that no schema describes.
_OPTIONS = {"options": "NotRequired[dict[str, Any]]"}
_IMAGE = {"image": "bytes | str | Path", "mime_type": "NotRequired[str]", **_OPTIONS}
_FILE = {
    "name": "NotRequired[str]",
    "mime_type": "NotRequired[str]",
    "data": "NotRequired[bytes | str]",
    "path": "NotRequired[Path]",
}
_ANY_OBJECT = "dict[str, Any]"
_FROM_TYPING = ("Any", "Literal", "NotRequired", "TypedDict", "cast")
_WORD = re.compile(r"\w+")
_NO_WORD = re.compile(r"\W")
_WIDTH = 96
_LONGEST_NAME = 80


def typed_source(name: str, manifests: Sequence[Manifest]) -> str:
    """Return a module's source for a plugin, or for the tools of one."""
    parts: list[str] = []
    taken = {"Call", "ToolRunner", "Envelope", "Path", *_FROM_TYPING}
    file = _free("InputFile", taken)
    if any(manifest.input == "files" for manifest in manifests):
        parts.append(_typed_dict(file, _FILE, "By its bytes, base64 text, or a path."))
    for manifest in manifests:
        parts += _of_one(manifest, taken, {"files": f"list[{file} | Path]", **_OPTIONS})
    body = "\n\n".join(parts)
    used = [one for one in _FROM_TYPING if re.search(rf"\b{one}\b", body)]
    what = f"What {name} takes and returns."
    imports = f"from typing import {', '.join(used)}"
    if re.search(r"\bPath\b", body):
        imports = f"from pathlib import Path\n{imports}"
    return "\n\n".join([_HEAD.format(what=what, name=name, imports=imports), body])


def _of_one(manifest: Manifest, taken: set[str], files: Mapping[str, str]) -> list[str]:
    prefix = _class_name(manifest.name)
    result = _Types(manifest.output_schema or {}, f"{prefix}Result", taken)
    parts = [*result.blocks]
    if manifest.input == "json":
        payload = _Types(manifest.input_schema or {}, f"{prefix}Payload", taken)
        parts += payload.blocks
        takes = payload.root
    else:
        takes = _free(f"{prefix}Payload", taken)
        parts.append(_typed_dict(takes, files if manifest.input == "files" else _IMAGE, ""))
    body = _UNTYPED if result.root == _ANY_OBJECT else _TYPED
    function = _FUNCTION.format(
        function=_free(f"run_{_NO_WORD.sub('_', manifest.name).lower()}", taken),
        payload=takes,
        result=result.root,
        name=manifest.name,
        body=body.format(name=manifest.name, result=result.root),
    )
    return [*parts, function]


class _Types:
    """The types of one schema: ``root`` is that of the whole, ``blocks`` are the classes for it."""

    def __init__(self, schema: Mapping[str, Any], name: str, taken: set[str]) -> None:
        self._schema = schema
        self._name = _free(name, taken)
        self._taken = taken
        self._named: dict[str, str] = {}  # what a reference leads to
        self._open: set[str] = set()  # classes that are being made
        self.blocks: list[str] = []
        root = self._type(schema, self._name)
        # A payload and a result are objects, whatever else their schema lets pass.
        kinds = [one for one in root.split(" | ") if one in taken - {"Any"}]
        self.root = " | ".join(kinds) or (root if root.startswith("dict[") else _ANY_OBJECT)

    def _type(self, schema: object, name: str) -> str:
        if not isinstance(schema, Mapping):
            return "Any"
        if isinstance(schema.get("$ref"), str):
            return self._referred(schema["$ref"])
        if "const" in schema or isinstance(schema.get("enum"), Sequence):
            return _literal([schema["const"]] if "const" in schema else schema["enum"])
        for several in ("anyOf", "oneOf"):
            if isinstance(schema.get(several), Sequence):
                return _union(self._type(one, name) for one in schema[several])
        if isinstance(schema.get("allOf"), Sequence):
            return self._type(self._joined(schema), name)
        kinds = schema.get("type", "object" if "properties" in schema else None)
        each = [kinds] if isinstance(kinds, str) else list(kinds or ())
        return _union(self._of_kind(kind, schema, name) for kind in each) if each else "Any"

    def _of_kind(self, kind: object, schema: Mapping[str, Any], name: str) -> str:
        if kind == "object":
            return self._object(schema, name)
        if kind == "array":
            items: list[object] = list(schema.get("prefixItems", ()))
            if not items or isinstance(schema.get("items"), Mapping):
                items.append(schema.get("items"))
            return f"list[{_union(self._type(one, f'{name}Item') for one in items)}]"
        return _PLAIN.get(str(kind), "Any")

    def _object(self, schema: Mapping[str, Any], name: str, *, own_name: str = "") -> str:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            rest = schema.get("additionalProperties", True)
            return f"dict[str, {self._type(rest, f'{name}Value')}]"
        own = own_name or (name if name == self._name else _free(name, self._taken))
        self._open.add(own)
        required = schema.get("required", ())
        fields = {}
        for key, part in properties.items():
            kind = self._type(part, f"{own}{_class_name(str(key))}")
            if self._open & set(_WORD.findall(kind)):
                kind = _quoted(kind)  # of a class that is not there yet
            fields[str(key)] = kind if key in required else f"NotRequired[{kind}]"
        self._open.remove(own)
        text = str(schema.get("description") or schema.get("title") or "")
        self.blocks.append(_typed_dict(own, fields, text))
        return own

    def _referred(self, reference: str) -> str:
        if reference in self._named:
            return self._named[reference]
        found = found_in(self._schema, reference)
        self._named[reference] = "Any"  # of one that leads to itself, but for objects
        if isinstance(found, Mapping) and isinstance(found.get("properties"), Mapping):
            last = _class_name(reference.rpartition("/")[2])
            own = self._name if reference == "#" else _free(f"{self._name}{last}", self._taken)
            self._named[reference] = own
            # Of the whole there is one already, or will be.
            return own if reference == "#" else self._object(found, own, own_name=own)
        kind = self._type(found, self._name)
        self._named[reference] = kind
        return kind

    def _joined(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a schema and all those that it wants to hold too, as one; {} if there is none."""
        parts: list[Any] = [{k: v for k, v in schema.items() if k != "allOf"}, *schema["allOf"]]
        parts = [
            found_in(self._schema, one["$ref"]) if _is_reference(one) else one for one in parts
        ]
        parts = [one for one in parts if isinstance(one, Mapping) and one]
        if len(parts) == 1:
            return dict(parts[0])
        if not all(isinstance(one.get("properties", {}), Mapping) for one in parts):
            return {}
        if any("properties" not in one and one.get("type") != "object" for one in parts):
            return {}
        properties: dict[str, Any] = {}
        required: list[Any] = []
        for one in parts:
            properties |= one.get("properties", {})
            required += one.get("required", ())
        return {"type": "object", "properties": properties, "required": required}


def found_in(schema: Mapping[str, Any], reference: str) -> object:
    """Return what a reference leads to in a schema, ``None`` for nothing."""
    found: Any = schema
    for part in reference.removeprefix("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _is_reference(schema: object) -> bool:
    return isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str)


def _typed_dict(name: str, fields: Mapping[str, str], text: str) -> str:
    """Return a class, or where a key is no name, the call that makes one."""
    if all(key.isidentifier() and not _is_reserved(key) for key in fields):
        about = _docstring(text)
        lines = [f"    {key}: {kind}" for key, kind in fields.items()]
        return "\n".join([f"class {name}(TypedDict):", *about, *lines, ""])
    lines = [f"        {_quoted(key)}: {kind}," for key, kind in fields.items()]
    return "\n".join([f"{name} = TypedDict(", f'    "{name}",', "    {", *lines, "    },", ")", ""])


def _is_reserved(key: str) -> bool:
    return keyword.iskeyword(key) or key.startswith("__")


def _docstring(text: str) -> list[str]:
    shown = "".join(c if c.isprintable() else " " for c in text).replace("\\", "/")
    shown = " ".join(shown.replace('"', "'").split())
    if not shown:
        return []
    lines = textwrap.wrap(shown, _WIDTH - 12)
    if len(lines) == 1:
        return [f'    """{lines[0]}"""', ""]
    return [f'    """{lines[0]}', *(f"    {one}" for one in lines[1:]), '    """', ""]


def _literal(values: Sequence[object]) -> str:
    if all(value is None or isinstance(value, str | bool | int) for value in values) and values:
        return f"Literal[{', '.join(dict.fromkeys(map(_written, values)))}]"
    kinds = (_PLAIN.get(_kind(value), "Any") for value in values)
    return _union(kinds)


def _written(value: object) -> str:
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    """Return a text as Python source writes it, in double quotes."""
    escaped = ascii(f"'{text}")[2:-1]  # with a single quote in it, ascii takes double ones
    if '"' in text:
        escaped = ascii(text)[1:-1].replace("\\'", "'").replace('"', '\\"')
    return f'"{escaped}"'


def _kind(value: object) -> str:
    kinds: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}
    return kinds.get(type(value), "null" if value is None else "")


def _union(kinds: Iterable[str]) -> str:
    each = list(dict.fromkeys(kinds))
    if "Any" in each or not each:
        return "Any"
    return " | ".join(each)


def _class_name(text: str) -> str:
    """Return a name for a class, from any text."""
    words = re.findall(r"[A-Za-z0-9]+", text)
    name = "".join(word[:1].upper() + word[1:] for word in words) or "Value"
    return (f"T{name}" if name[0].isdigit() else name)[:_LONGEST_NAME]


def _free(name: str, taken: set[str]) -> str:
    """Return the name, or the next one that is free, and take it."""
    name = f"T{name}" if name[0].isdigit() else name
    free, number = name, 2
    while free in taken:
        free, number = f"{name}{number}", number + 1
    taken.add(free)
    return free
