"""What a tool takes and returns, as JSON Schema, made of a plugin's manifest.

Names are those of ``POST /v1/analyze``. What a manifest says itself is handed on, without what
hosts would do something with beside checking it.
"""

from __future__ import annotations

from typing import Any

from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.payloads.files import MOST_FILES

# Hosts copy arguments that are marked so into headers, which proxies log.
_INTO_HEADERS = "x-mcp-header"
_MIME = "Its MIME type"
_OPTIONS = {
    "type": "object",
    "description": "Options, as the plugin's own documentation has them",
}
_BASE64 = {"type": "string", "contentEncoding": "base64"}


def input_schema(manifest: Manifest, *, with_paths: bool) -> dict[str, Any]:
    """Return the schema of a tool's arguments.

    ``with_paths``: a file of this host may be named, where the user has allowed a folder.
    """
    if manifest.input == "json":
        return of_objects(manifest.input_schema or {})
    if manifest.input == "image":
        return _image(manifest, with_paths=with_paths)
    return _files(manifest, with_paths=with_paths)


def output_schema(manifest: Manifest) -> dict[str, Any] | None:
    """Return the schema of a tool's results, ``None`` if its manifest has none."""
    return None if manifest.output_schema is None else of_objects(manifest.output_schema)


def of_objects(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that says first that what it describes is an object, as it has to be."""
    cleaned = _cleaned(schema)
    return {**cleaned, "type": "object"}


def _image(manifest: Manifest, *, with_paths: bool) -> dict[str, Any]:
    given: dict[str, Any] = {
        "image": {**_BASE64, "description": "The image"},
        "mime_type": {"type": "string", "enum": list(manifest.accepts), "description": _MIME},
    }
    if not with_paths:
        return {
            "type": "object",
            "properties": {**given, "options": _OPTIONS},
            "required": ["image", "mime_type"],
            "additionalProperties": False,
        }
    # "mime_type" may be left out with a path: the content says it.
    return {
        "type": "object",
        "properties": {**given, "path": _path("The image"), "options": _OPTIONS},
        "additionalProperties": False,
    }


def _files(manifest: Manifest, *, with_paths: bool) -> dict[str, Any]:
    mime_type: dict[str, Any] = {"type": "string", "description": _MIME}
    if manifest.accepts:
        mime_type["enum"] = list(manifest.accepts)
    one: dict[str, Any] = {
        "name": {"type": "string", "description": "A plain name, without folders"},
        "data": {**_BASE64, "description": "What is in it"},
        "mime_type": mime_type,
    }
    required = ["name", "data"]
    if with_paths:
        one["path"], required = _path("The file"), []
    item: dict[str, Any] = {"type": "object", "properties": one, "additionalProperties": False}
    if required:
        item["required"] = required
    files = {"type": "array", "minItems": 1, "maxItems": MOST_FILES, "items": item}
    return {
        "type": "object",
        "properties": {"files": files, "options": _OPTIONS},
        "required": ["files"],
        "additionalProperties": False,
    }


def _path(what: str) -> dict[str, Any]:
    words = f"{what} by its path, in a folder that was allowed, instead of its bytes"
    return {"type": "string", "description": words}


def _cleaned(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    if isinstance(value, dict):
        return {key: _cleaned(inner) for key, inner in value.items() if key != _INTO_HEADERS}
    if isinstance(value, list | tuple):
        return [_cleaned(inner) for inner in value]
    return value
