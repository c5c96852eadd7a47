"""What a host is told of a tool: its schemas, made of a manifest, and its hints."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from toolrunner.api.mcp.schemas import input_schema, of_objects, output_schema
from toolrunner.api.mcp.tools import tool_of
from toolrunner.plugins.manifest import Manifest

PNG = "iVBORw0KGgo="
BOUNDS = "A call has 20 s, of which 1.5 s of processor time; 1,024 MiB of memory"
LIMITS = {"wall_seconds": 20, "cpu_seconds": 1.5, "memory_mb": 1024}


def manifest(**keys: Any) -> Manifest:
    """Return a manifest."""
    return Manifest.model_validate({"name": "sample", **keys})


@pytest.mark.parametrize(
    ("keys", "given", "is_right"),
    [
        ({"input": "image"}, {"image": PNG, "mime_type": "image/png"}, True),
        ({"input": "image"}, {"image": PNG, "mime_type": "image/png", "options": {"a": 1}}, True),
        ({"input": "image"}, {"image": PNG}, False),
        ({"input": "image"}, {"image": PNG, "mime_type": "text/plain"}, False),
        ({"input": "image"}, {"path": "a.png"}, False),
        ({"input": "files"}, {"files": [{"name": "a", "data": "YQ=="}]}, True),
        ({"input": "files"}, {"files": [{"path": "a"}]}, False),
        ({"input": "files"}, {"files": []}, False),
        ({"input": "json"}, {"any": "thing"}, True),
    ],
)
def test_arguments_are_those_of_the_http_api(
    keys: dict[str, Any], given: dict[str, Any], is_right: bool
) -> None:
    """An image or files in base64, options beside them; of JSON whatever the plugin says."""
    schema = input_schema(manifest(**keys), with_paths=False)
    Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert Draft202012Validator(schema).is_valid(given) is is_right


@pytest.mark.parametrize(
    ("kind", "given"),
    [("image", {"path": "a.png"}), ("files", {"files": [{"path": "a/b.txt"}]})],
)
def test_a_path_may_be_named_where_a_folder_is_allowed(kind: str, given: dict[str, Any]) -> None:
    """And only there."""
    for with_paths in (False, True):
        schema = input_schema(manifest(input=kind), with_paths=with_paths)
        assert Draft202012Validator(schema).is_valid(given) is with_paths


def test_an_authors_schema_is_handed_on() -> None:
    """It says that it is an object, and has no word that hosts act upon."""
    own: dict[str, Any] = {
        "properties": {"a": {"type": "string", "x-mcp-header": "Secret"}},
        "anyOf": [{"required": ["a"]}],
    }
    assert of_objects(own) == {
        "properties": {"a": {"type": "string"}},
        "anyOf": [{"required": ["a"]}],
        "type": "object",
    }
    made = manifest(input="json", input_schema=own, output_schema={"required": ["b"]})
    assert "x-mcp-header" not in str(input_schema(made, with_paths=False))
    assert output_schema(made) == {"required": ["b"], "type": "object"}
    assert output_schema(manifest()) is None


def test_a_tool_says_what_it_can_do() -> None:
    """Nothing but to answer; with the network, whatever can be reached by that."""
    closed = tool_of("sample", manifest(description="Words", limits=LIMITS), with_paths=False)
    assert closed.name == "sample"
    assert closed.description == f"Words\n\n{BOUNDS}; no network."
    hints = closed.annotations
    assert hints is not None
    assert (hints.read_only_hint, hints.destructive_hint, hints.open_world_hint) == (
        True,
        False,
        False,
    )
    reaching = tool_of("sample", manifest(network=True, limits=LIMITS), with_paths=False)
    assert reaching.description == f"{BOUNDS}; the network."
    hints = reaching.annotations
    assert hints is not None
    assert (hints.read_only_hint, hints.destructive_hint, hints.open_world_hint) == (
        False,
        None,
        True,
    )


def test_what_a_schema_says_of_the_whole_stands_before_the_model() -> None:
    """Once: hosts that show no more than properties would leave it out."""
    own = manifest(
        input="json",
        description="Words",
        input_schema={"description": "How to call it.", "properties": {"a": {}}},
    )
    tool = tool_of("sample", own, with_paths=False)
    assert tool.description is not None
    assert tool.description.startswith("Words\n\nHow to call it.\n\nA call has ")
    assert tool.input_schema == {"properties": {"a": {}}, "type": "object"}
