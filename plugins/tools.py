"""The tools of a plugin that has several: each is a manifest of its own, made of two tables.

Called by ``manifest`` for each ``[tool.toolrunner.tools.NAME]``. What that does not say is as the
plugin's own table has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from toolrunner.plugins.errors import KeyPath, suggestion
from toolrunner.sandbox.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

# What a tool may say for itself; all else is about the code that it shares with the others.
OWN_KEYS = (
    "description",
    "input",
    "accepts",
    "input_schema",
    "output_schema",
    "error_key",
    "limits",
)
# What is asked of one function, and a plugin of several tools has more.
NOT_WITH_TOOLS = ("warm_up", "batch")
# What describes one kind of input, and means nothing for another one.
_OF_INPUT = ("accepts", "input_schema")

EXPLAINED = {
    "dict_type": "must be a table of tools; write [tool.toolrunner.tools.my-tool]",
    "model_type": "must be a table; write [tool.toolrunner.tools.my-tool]",
}


def with_the_rest(table: object, info: ValidationInfo) -> object:
    """Return a tool's table with all that it leaves to its plugin; what is no table as it is."""
    if not isinstance(table, dict):
        return table
    plugin: Mapping[str, Any] = info.data
    problems = list(_problems(table, plugin))
    if problems:
        title = "tools"
        raise ValidationError.from_exception_data(title, problems)
    if not {"name", "dependencies", "input", "limits"} <= plugin.keys():
        return {"name": "unknown"}  # what is wrong is the plugin's own, and said there
    # What is empty is a default, which need not be what one may write.
    rest = {key: value for key, value in plugin.items() if value and key not in NOT_WITH_TOOLS}
    if table.get("input", plugin["input"]) != plugin["input"]:
        rest = {key: value for key, value in rest.items() if key not in _OF_INPUT}
    own = dict(table)
    if isinstance(own.get("limits"), dict | Limits):
        given = own["limits"]
        given = asdict(given) if isinstance(given, Limits) else given
        own["limits"] = {**asdict(plugin["limits"]), **given}
    return {**rest, **own}


def _problems(table: dict[str, Any], plugin: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
    for key in table:
        if key not in OWN_KEYS:
            why = f"unknown key; {suggestion(str(key), OWN_KEYS)}"
            if key in plugin:
                why = "is the plugin's as a whole; move it to [tool.toolrunner]"
            finding = PydanticCustomError("tool", "{why}", {"why": why})
            yield InitErrorDetails(type=finding, loc=(key,), input=None)


def field_of(loc: KeyPath) -> str:
    """Return the manifest's field that a place in it belongs to, a tool's like its plugin's."""
    is_of_tool = loc[0] == "tools" and len(loc) > 2 and loc[2] != "[key]"  # noqa: PLR2004 - tools, NAME, field
    return str(loc[2] if is_of_tool else loc[0])
