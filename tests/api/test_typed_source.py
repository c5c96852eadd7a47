"""Types made of schemas: what they say, and that a type checker takes them."""

from __future__ import annotations

import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from toolrunner.api.typed_source import typed_source
from toolrunner.plugins.manifest import Manifest

BOX = {
    "type": "object",
    "description": 'One "box"\nof many',
    "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
    "required": ["x", "y"],
}
NODE = {
    "type": "object",
    "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
}
MORE = {"type": "object", "properties": {"z": {"type": "boolean"}}}
# Each: a schema of one value, and its type.
VALUES: dict[str, tuple[object, str]] = {
    "text": ({"type": "string"}, "str"),
    "whole number": ({"type": "integer"}, "int"),
    "number": ({"type": "number"}, "float"),
    "truth": ({"type": "boolean"}, "bool"),
    "nothing": ({"type": "null"}, "None"),
    "several types": ({"type": ["integer", "null"]}, "int | None"),
    "anything": ({}, "Any"),
    "any at all": (True, "Any"),
    "words": ({"enum": ["a", 'b"', None, 1]}, 'Literal["a", "b\\"", None, 1]'),
    "numbers": ({"enum": [0.5, 1]}, "float | int"),
    "one word": ({"const": "a"}, 'Literal["a"]'),
    "list": ({"type": "array", "items": {"type": "string"}}, "list[str]"),
    "list of anything": ({"type": "array"}, "list[Any]"),
    "tuple": (
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
        "list[int | str]",
    ),
    "table": ({"type": "object"}, "dict[str, Any]"),
    "table of numbers": (
        {"type": "object", "additionalProperties": {"type": "number"}},
        "dict[str, float]",
    ),
    "one of": ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "str | int"),
    "any of with anything": ({"anyOf": [{"type": "string"}, {}]}, "Any"),
    "object": (BOX, "SampleResultValue"),
    "reference": ({"$ref": "#/$defs/box"}, "SampleResultBox"),
    "reference to nothing": ({"$ref": "#/$defs/none"}, "Any"),
    "reference to itself": ({"$ref": "#/$defs/loop"}, "Any"),
    "tree": ({"$ref": "#/$defs/node"}, "SampleResultNode"),
    "the whole": ({"$ref": "#"}, '"SampleResult"'),
    "the whole or nothing": (
        {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        '"SampleResult | None"',
    ),
    "all of one": ({"allOf": [{"$ref": "#/$defs/box"}]}, "SampleResultValue"),
    "all of objects": ({"allOf": [{"$ref": "#/$defs/box"}, MORE]}, "SampleResultValue"),
    "all of others": ({"allOf": [{"type": "string"}, {"minLength": 1}]}, "Any"),
}


def of_value(schema: object) -> dict[str, Any]:
    """Return the schema of a result with one value."""
    definitions = {"box": BOX, "node": NODE, "loop": {"$ref": "#/$defs/loop"}}
    return {
        "type": "object",
        "required": ["value"],
        "properties": {"value": schema},
        "$defs": definitions,
    }


def loaded(source: str) -> dict[str, Any]:
    """Return what a module of this source defines."""
    namespace: dict[str, Any] = {"__name__": "made"}
    exec(compile(source, "made", "exec", dont_inherit=True), namespace)
    return namespace


@pytest.mark.parametrize(("schema", "wanted"), VALUES.values(), ids=VALUES)
def test_each_schema_has_its_type(schema: object, wanted: str) -> None:
    """As it stands in the class of the result."""
    manifest = Manifest(name="sample", input="json", output_schema=of_value(schema))
    source = typed_source("sample", [manifest])
    assert f"    value: {wanted}\n" in source
    loaded(source)


def test_what_is_no_name_is_a_key() -> None:
    """Such a class is made by a call; it says the same."""
    schema = {"type": "object", "required": ["a-b"], "properties": {"a-b": BOX, "class": {}}}
    made = loaded(typed_source("sample", [Manifest(name="sample", output_schema=schema)]))
    result = made["SampleResult"]
    assert result.__required_keys__ == {"a-b"}
    assert typing.get_type_hints(result, made)["a-b"] is made["SampleResultAB"]


def test_names_are_taken_once() -> None:
    """Two tools of similar names, and classes that would be called alike."""
    tools = {
        "a-b": {"input": "json", "output_schema": of_value(BOX)},
        "a_b": {"input": "json", "output_schema": of_value(BOX)},
    }
    manifest = Manifest.model_validate({"name": "sample", "tools": tools})
    source = typed_source("sample", list(manifest.tools.values()))
    names = [line.split("(")[0] for line in source.splitlines() if line.startswith("class ")]
    assert len(names) == len(set(names)) == 4
    assert source.count("def run_sample_a_b(") == 1


def test_the_types_take_what_the_schema_takes() -> None:
    """Read by another library, for the values of a call."""
    source = typed_source("sample", [Manifest(name="sample", output_schema=of_value(BOX))])
    # Before Python 3.12 that library wants the class of the backport.
    made = loaded(source.replace("from typing import", "from typing_extensions import"))
    adapter = TypeAdapter(made["SampleResult"])
    assert adapter.validate_python({"value": {"x": 1.0, "y": 2.0}})
    with pytest.raises(ValidationError):
        adapter.validate_python({"value": {"x": 1.0}})


def test_a_type_checker_takes_it(tmp_path: Path) -> None:
    """Strictly; and it finds the mistakes of whoever calls the plugin."""
    tools: dict[str, Any] = {
        "find": {"output_schema": of_value({"$ref": "#/$defs/box"})},
        "odd": {"output_schema": {"type": "object", "properties": {"a-b": NODE, "class": {}}}},
        "count": {"input": "json", "input_schema": of_value({"type": "string"})},
        "watch": {"input": "files"},
    }
    manifest = Manifest.model_validate({"name": "sample", "tools": tools})
    (tmp_path / "made.py").write_text(typed_source("sample", list(manifest.tools.values())))
    (tmp_path / "caller.py").write_text(
        "from pathlib import Path\n\n"
        "from made import run_sample_count, run_sample_find, run_sample_watch\n"
        "from toolrunner import ToolRunner\n\n\n"
        "def go(tool_runner: ToolRunner) -> float:\n"
        "    run_sample_watch(tool_runner, {'files': [{'name': 'a', 'data': b''}, Path('b')]})\n"
        "    found, error = run_sample_find(tool_runner, {'image': b'', 'mime_type': 'a/b'})\n"
        "    if error is not None:\n"
        "        raise RuntimeError(error['error']['message'])\n"
        "    width: float = found['value']['x'] * 2\n"
        "    return width\n\n\n"
        "def mistaken(tool_runner: ToolRunner) -> None:\n"
        "    found, _ = run_sample_find(tool_runner, {'image': b'', 'mime_type': 'a/b'})\n"
        "    found['values']  # type: ignore[typeddict-item]\n"
        "    run_sample_count(tool_runner, {})  # type: ignore[typeddict-item]\n"
    )
    command = [sys.executable, "-P", "-m", "mypy", "--strict", "--cache-dir=/dev/null"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, "--config-file=", "made.py", "caller.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(root), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    own = [line for line in done.stdout.splitlines() if line.startswith(("made.py", "caller.py"))]
    assert own == [], done.stdout
    assert "Traceback" not in done.stderr
