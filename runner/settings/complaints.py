"""What is wrong with a setting, in words that say what to write instead, with an example.

Only ``settings`` calls it, with what pydantic has found. Nothing is read or judged here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from toolrunner.plugins.errors import suggestion
from toolrunner.sandbox.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

# Of one element, where a setting is a list of them.
_EXAMPLES: dict[str, Any] = {
    "plugins": "/srv/plugins",
    "read": "/srv/models",
    "state": "/var/lib/toolrunner",
    "blobs": "s3://bucket/prefix",
    "allow_installed": "some-distribution",
    "allow_network": "my-plugin",
    "allowed_hosts": "tools.example.org",
    "allow_resident": "my-plugin",
    "webhooks": "https://example.org/jobs",
    "caps": {"memory_mb": 1024},
    "plugin": {"my-plugin": {"read": ["/srv/models"]}},
    "config": {"model": "/srv/models/small"},
}
_OF_ONE_PLUGIN = {"read": ["/srv/models"]}
_WHOLE = frozenset({"int_type", "int_parsing", "int_from_float", "int_parsing_size"})
_NUMBER = frozenset({"float_type", "float_parsing", "finite_number"})
_TABLE = frozenset({"dict_type", "model_type", "model_attributes_type"})
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def explain(
    finding: ErrorDetails,
    path: tuple[str, ...],
    known: Mapping[str, FieldInfo],
    of_a_plugin: Mapping[str, FieldInfo],
    *,
    is_variable: bool,
) -> str:
    """Return what to write instead of what stands at ``path``.

    ``known``: the settings, and ``of_a_plugin`` those of a single one. ``is_variable``: it comes
    from the environment, where tables are JSON.
    """
    kind, context = finding["type"], finding.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown setting; {suggestion(path[-1], known if len(path) == 1 else of_a_plugin)}"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"must be {words} {context[key]:g}"
    if kind in _WHOLE:
        return f"must be a whole number, such as {_number(path, known)}"
    if kind in _NUMBER:
        return f"must be a number, such as {_number(path, known)}"
    example = json.dumps(_example(path)) if is_variable else _as_toml(_example(path))
    if kind in _TABLE:
        return f"must be a table, such as {example}"
    words_of = {
        "tuple_type": f"must be a list, such as [{example}]",
        "string_type": f"must be text in quotes, such as {example}",
        "too_long": f"must have at most {context.get('max_length')} entries",
        "path_type": f"must be a path in quotes, such as {example}",
    }
    return words_of.get(kind) or finding["msg"].removeprefix("Value error, ")


def _example(path: tuple[str, ...]) -> object:
    """Return what may stand there: of the innermost setting that has an example."""
    if path[0] == "plugin" and len(path) == len(("plugin", "NAME")):
        return _OF_ONE_PLUGIN
    return next((_EXAMPLES[key] for key in reversed(path) if key in _EXAMPLES), "text")


def _as_toml(value: object) -> str:
    """Return an example as it stands behind a key in the file."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_as_toml(inner)}' for key, inner in value.items())} }}"
    return json.dumps(value)


def _number(path: tuple[str, ...], known: Mapping[str, FieldInfo]) -> str:
    if path[0] == "caps":
        return f"{getattr(Limits(), path[1], 1):g}"
    default: Any = known[path[0]].get_default(call_default_factory=True)
    return f"{default:g}"
