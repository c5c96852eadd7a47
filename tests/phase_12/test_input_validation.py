"""What a payload may not be: refused before anything runs, and the caller is told what to do."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import ToolRunner
from toolrunner.sandbox.ending import Usage

IMAGE = b"\x89PNG"
NEVER_RUN = "raise SystemExit('loaded')\ndef run(payload): return {}"


def deep(levels: int) -> Any:
    """Return a list nested that many times."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def cycle() -> dict[str, Any]:
    """Return a dict that contains itself."""
    value: dict[str, Any] = {}
    value["self"] = value
    return value


@pytest.fixture
def images(write_plugin: WritePlugin, make_runner: MakeRunner) -> ToolRunner:
    """A runner of a plugin for images that fails if it is ever loaded."""
    return make_runner(write_plugin(NEVER_RUN, input="image", accepts='["image/png"]'))


@pytest.fixture
def objects(write_plugin: WritePlugin, make_runner: MakeRunner) -> ToolRunner:
    """A runner of a plugin for JSON that fails if it is ever loaded."""
    return make_runner(
        write_plugin(
            NEVER_RUN,
            input_schema='{ type = "object", properties = { n = { type = "integer" } } }',
            limits="{ payload_mb = 1 }",
        )
    )


def refused(tool_runner: ToolRunner, payload: Any, words: str) -> None:
    """Assert that a payload is refused with these words, before anything of a box exists."""
    result, envelope = tool_runner.run("sample", payload)
    assert result is None
    assert envelope is not None
    error = envelope["error"]
    assert error["type"] == "ValidationError", error["message"]
    assert words in error["message"]
    assert error["details"]["blame"] == "caller"
    assert error["details"]["retryable"] is False
    assert error["details"]["usage"] == dict.fromkeys(Usage.__dataclass_fields__, 0)
    assert error["plugin"] == "sample"
    status = tool_runner.registry.get_status("sample")
    assert status is not None
    # Counted as an error, and no word against the plugin.
    assert (status.success_count, status.error_count, status.in_flight) == (0, 1, 0)
    assert status.state == "LOADED"


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"mime_type": "image/png"}, '"image" is missing'),
        ({"image": None, "mime_type": "image/png"}, '"image" is missing'),
        ({"image": b"", "mime_type": "image/png"}, '"image" is empty'),
        ({"image": "", "mime_type": "image/png"}, '"image" is empty'),
        ({"image": 7, "mime_type": "image/png"}, "give bytes"),
        ({"image": ["a"], "mime_type": "image/png"}, "give bytes"),
        ({"image": "not base64!", "mime_type": "image/png"}, "base64"),
        ({"image": "iVBO\nRw0K", "mime_type": "image/png"}, "base64"),
        ({"image": "iVBO\n\n\n\nRw0K", "mime_type": "image/png"}, "base64"),
        ({"image": "iV!!BO!!Rw0K", "mime_type": "image/png"}, "base64"),
        ({"image": "data:image/png;base64,iVBO", "mime_type": "image/png"}, "data: URL"),
        ({"image": IMAGE}, '"mime_type" is missing'),
        ({"image": IMAGE, "mime_type": None}, '"mime_type" is missing'),
        ({"image": IMAGE, "mime_type": ""}, '"mime_type" is empty'),
        ({"image": IMAGE, "mime_type": "  "}, '"mime_type" is empty'),
        ({"image": IMAGE, "mime_type": 5}, '"mime_type" is of type int; give a string'),
        ({"image": IMAGE, "mime_type": b"image/png"}, '"mime_type" is of type bytes'),
        ({"image": IMAGE, "mime_type": "png"}, '"png", which is no MIME type'),
        ({"image": IMAGE, "mime_type": "image/tiff"}, "it takes: image/png"),
        ({"image": IMAGE, "mime_type": "image/png", "options": {"x": math.nan}}, "options"),
        ({}, '"image" is missing'),
        (None, "give a dict"),
        ([], "give a dict"),
        ("image", "give a dict"),
        (7, "give a dict"),
    ],
)
def test_an_image_payload_is_checked(payload: Any, words: str, images: ToolRunner) -> None:
    """An image that is there, and a MIME type that the plugin takes: nothing less will do."""
    refused(images, payload, words)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"x": math.nan}, '["x"]'),
        ({"x": [1, math.inf]}, '["x"][1]'),
        ({"x": -math.inf}, '["x"]'),
        ({1: "x"}, "key"),
        ({"x": {None: 1}}, "key"),
        ({"x": "\ud800"}, "surrogate"),
        ({"x": object()}, '["x"]'),
        ({"x": b"raw"}, '["x"]'),
        ({"x": {1, 2}}, '["x"]'),
        ({"x": deep(100)}, "nested more than 100"),
        (cycle(), "payload"),
        ({"n": "one"}, "n"),
        ({"x": "x" * 2**20}, "the plugin takes 1 MiB"),
        ([1], "give a dict"),
        (None, "give a dict"),
    ],
    ids=range(15),
)
def test_a_json_payload_is_strict(payload: Any, words: str, objects: ToolRunner) -> None:
    """Only what strict JSON carries, what the schema allows, and what is not too large."""
    refused(objects, payload, words)


def test_nesting_up_to_the_bound_is_taken(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """A hundred levels, the payload's own among them, are fine on both ways."""
    tool_runner = make_runner(write_plugin("def run(payload): return payload"))
    payload = {"x": deep(99)}
    assert tool_runner.run("sample", payload) == (payload, None)


@pytest.mark.parametrize("mime_type", ["image/png", "IMAGE/PNG", " image/png ; charset=x"])
def test_a_mime_type_is_compared_by_its_essence(
    mime_type: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Case, blanks and parameters do not make another type of it."""
    plugin = write_plugin("def run(p): return {}", input="image", accepts='["image/png"]')
    payload = {"image": IMAGE, "mime_type": mime_type}
    assert make_runner(plugin).run("sample", payload) == ({}, None)


def test_a_plugin_may_blame_its_input(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """An exception of a class called InvalidInput is the caller's fault, in the plugin's words."""
    plugin = write_plugin(
        """
        class InvalidInput(Exception):
            pass

        def run(payload):
            raise InvalidInput("three corners make no rectangle")
        """
    )
    tool_runner = make_runner(plugin)
    _result, envelope = tool_runner.run("sample", {})
    assert envelope is not None
    assert envelope["error"]["type"] == "ValidationError"
    assert envelope["error"]["message"] == "three corners make no rectangle"
    assert envelope["error"]["details"]["blame"] == "caller"
    assert tool_runner.registry.get_state("sample") == "LOADED"
