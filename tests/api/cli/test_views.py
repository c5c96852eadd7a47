"""What people are shown of results, schemas and commands: nothing is ambiguous, or cut short."""

from __future__ import annotations

import json
import re

import pytest

from tests.api.conftest import Cli
from tests.conftest import WritePlugin

ECHO = "def run(payload):\n    return payload\n"
TABLE = {"columns": ["city", "people"], "rows": [["Uruk", 40000], ["Ur", None]]}


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ({"x": None}, ["x: none"]),
        ({"x": []}, ["x: an empty list"]),
        ({"x": {}}, ["x: an empty object"]),
        ({"x": ["Uruk, the old", 40000]}, ['x: "Uruk, the old", 40000']),
        ({"x": ["Uruk", 40000]}, ["x: Uruk, 40000"]),
        ({"x": TABLE}, ["city people", "Uruk 40000", "Ur none"]),
        (TABLE, ["city people", "Uruk 40000", "Ur none"]),
        ({"columns": ["a", "b"], "rows": [[1]]}, ["columns: a, b"]),
        ({"columns": 1, "rows": []}, ["columns: 1", "rows: an empty list"]),
    ],
)
def test_a_result_is_shown_as_what_it_is(
    result: object, shown: list[str], cli: Cli, write_plugin: WritePlugin
) -> None:
    """A list is no object, a text with a comma no two values, and a table is one."""
    path = write_plugin(ECHO)
    ended = cli("--plugins", path, "run", "sample", "--payload", json.dumps(result))
    lines = [" ".join(re.sub("[│├└─]", " ", line).split()) for line in ended.out.splitlines()]
    assert set(shown) <= set(lines), ended.out


def test_one_byte_is_one(cli: Cli, write_plugin: WritePlugin) -> None:
    """Of an artifact."""
    body = "def run(payload, context):\n    return {'a': context.artifact('a.txt', b'x')}\n"
    assert " 1 byte\n" in re.sub(
        " +\n", "\n", cli("--plugins", write_plugin(body), "run", "sample").out
    )


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({"const": "a"}, '"a"'),
        ({"enum": [1, "b"]}, 'one of 1, "b"'),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
        ({"oneOf": [{"$ref": "#/$defs/n"}, {"const": 0}]}, "integer or 0"),
        ({"$ref": "#/$defs/n"}, "integer; how many"),
        ({"type": "array", "items": {"$ref": "#/$defs/n"}}, "array of integer"),
        ({"allOf": [{"minLength": 1}, {"type": "string"}]}, "string"),
        ({"properties": {"a": {}}}, "object"),
        ({"$ref": "#/$defs/itself"}, "anything"),
        ({"$ref": "#/$defs/none"}, "anything"),
        ({"type": ["string", "null"]}, "string or null"),
        ({}, "anything"),
    ],
)
def test_a_schemas_types_are_told(
    schema: object, shown: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """Whichever way they are written in."""
    whole = {
        "properties": {"x": schema},
        "$defs": {
            "n": {"type": "integer", "description": "how many"},
            "itself": {"$ref": "#/$defs/itself"},
        },
    }
    written = re.sub(r'"(\$?\w+)": ', r'"\1" = ', json.dumps(whole))
    path = write_plugin(ECHO, input_schema=written)
    out = cli("--plugins", path, "plugins", "show", "sample", COLUMNS="200").out
    assert f"takes x: {shown}" in [" ".join(line.split()) for line in out.splitlines()]


def test_no_summary_of_a_command_is_cut(cli: Cli) -> None:
    """In a narrow terminal, too."""
    for of in ((), ("plugins",), ("jobs",), ("keys",), ("webhooks",)):
        listed = cli(*of, "-h", COLUMNS="80").out.partition("Commands:")[2].partition("Example")[0]
        assert "..." not in listed
        assert listed.count(".\n") >= 3
