"""The check of a manifest's ``input_schema``: that it is JSON Schema, and safe to use later.

Called by ``manifest``, and by ``plugins check`` for what has no effect in one. Validates the schema
itself, never a payload, and never fetches anything.
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.validators import validator_for
from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from toolrunner.plugins.errors import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEPEST = 64
_LONGEST_TEXT = 500
# What may stand in a schema and checks nothing, beside the keywords that its validator knows.
# fmt: off
_SAYING = (
    "$anchor", "$comment", "$defs", "$dynamicAnchor", "$id", "$schema", "$vocabulary",
    "contentEncoding", "contentMediaType", "contentSchema", "default", "definitions",
    "deprecated", "description", "else", "examples", "maxContains", "minContains", "readOnly",
    "then", "title", "writeOnly",
)
# fmt: on
_ONE_EACH = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_SCHEMAS = (
    *("additionalProperties", "allOf", "anyOf", "contains", "else", "if", "items", "not", "oneOf"),
    *("prefixItems", "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties"),
)
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_LIKE = 0.75  # by difflib: what is less like a keyword may be a word of somebody's own
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def input_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Accept a JSON Schema; a finding carries the path of the part that is wrong."""
    for path, part in _parts(schema):
        if len(path) > _DEEPEST:
            raise _finding(path[:1], f"is nested deeper than {_DEEPEST}; flatten it")
        _check_part(path, part)
    checker = validator_for(schema, default=Draft202012Validator)
    try:
        checker.check_schema(schema)
    except SchemaError as error:
        why = _of_a_type(error) or f"is not valid JSON Schema: {error.message}"
        raise _finding(tuple(error.path), why) from None
    return schema


def _of_a_type(error: SchemaError) -> str:
    """Return which types there are, if what stands for one is none; jsonschema only says no."""
    given = error.instance
    if not error.path or error.path[-1] != "type" or error.validator != "anyOf":
        return ""
    each = given if isinstance(given, list) else [given]
    wrong = next((one for one in each if one not in _TYPES), None)
    if not isinstance(wrong, str):
        return f"is no type of JSON Schema; write one of {', '.join(_TYPES)}, or a list of some"
    return f"has {json.dumps(wrong)}, which is no type; {suggestion(wrong, _TYPES)}"


def misspelled(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each word of a schema that is ignored, and the keyword that it is so much like."""
    checker = validator_for(schema, default=Draft202012Validator)
    known = {*checker.VALIDATORS, *_SAYING}
    waiting: list[Any] = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        if not isinstance(part, dict):
            continue
        for word in part:
            close = difflib.get_close_matches(word[:_LONGEST_TEXT], sorted(known), 1, _LIKE)
            if word not in known and close:
                yield word, close[0]
        waiting += [part[word] for word in _SCHEMAS if word in part]
        for word in _ONE_EACH:
            within = part.get(word)
            waiting += within.values() if isinstance(within, dict) else ()


def _parts(schema: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield each table, list and value with its path, without recursion."""
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), schema)]
    while waiting:
        path, part = waiting.pop()
        yield path, part
        if isinstance(part, dict):
            waiting.extend(((*path, key), value) for key, value in part.items())
        elif isinstance(part, list | tuple):
            waiting.extend(((*path, i), value) for i, value in enumerate(part))


def _check_part(path: tuple[str | int, ...], part: object) -> None:
    if path == ("$schema",) and not _names_a_dialect(part):
        raise _finding(path, "must be a string that names the dialect")
    if isinstance(part, dict | list | tuple):
        return
    try:
        json.dumps(part, allow_nan=False)
    except (TypeError, ValueError):
        raise _finding(path, "is not a JSON value; write dates as strings, no nan or inf") from None
    if not path:
        return
    if path[-1] in _REFERENCES and isinstance(part, str) and not part.startswith("#"):
        # A reference to elsewhere would make the host fetch what a plugin's author chose.
        raise _finding(path, 'must refer into this schema, such as "#/$defs/item"')


def _names_a_dialect(part: object) -> bool:
    """Tell whether jsonschema can look a dialect up by this."""
    if not isinstance(part, str):
        return False
    try:
        urlsplit(part)
    except ValueError:
        return False
    return True


def _finding(path: tuple[str | int, ...], why: str) -> ValidationError:
    short = why if len(why) <= _LONGEST_TEXT else why[:_LONGEST_TEXT] + "…"
    finding = PydanticCustomError("schema", "{why}", {"why": short})
    return ValidationError.from_exception_data(
        "input_schema", [InitErrorDetails(type=finding, loc=path, input=None)]
    )
