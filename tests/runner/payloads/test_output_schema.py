"""Results that are not what the manifest says of them: ``output_schema`` and ``error_key``."""

from __future__ import annotations

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.declared_errors import check_no_error
from toolrunner.runner.payloads.schema import check_output
from toolrunner.sandbox.layers import Layers

SCHEMA = "{ required = ['n'], properties = { n = { items = { type = 'integer' } } } }"
BODY = """
    def run(payload):
        return payload["give"]
"""


def test_a_result_has_to_fit_its_schema(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The message names the place; the status, which everybody may read, quotes nothing."""
    tool_runner = make_runner(write_plugin(BODY, output_schema=SCHEMA), layers=layers)
    assert tool_runner.run("sample", {"give": {"n": [1, 2]}}) == ({"n": [1, 2]}, None)
    _, error = tool_runner.run("sample", {"give": {"n": [1, "secret"]}})
    assert error is not None
    assert error["error"]["type"] == "OutputValidationError"
    assert error["error"]["message"] == (
        'the result does not fit its output_schema: result["n"][1]: '
        "'secret' is not of type 'integer'"
    )
    reason = tool_runner.registry.get_status("sample").reason
    assert reason == "OutputValidationError: the result of run does not fit its output_schema"
    _, error = tool_runner.run("sample", {"give": {}})
    assert error is not None
    assert "'n' is a required property" in error["error"]["message"]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"properties": {"a": {"pattern": "(a+)+b"}}}, "that cannot be used: the pattern"),
        ({"properties": {"a": {"$ref": "#/$defs/no"}}}, "that cannot be used: it refers to"),
        ({"properties": {"a": {"pattern": "^a+a+b"}}}, "of the schema; return a shorter one"),
    ],
)
def test_a_schema_that_cannot_be_used_is_the_plugins_fault(
    schema: dict[str, object], words: str
) -> None:
    """It has run, so that it is not unavailable: no result of it can be believed."""
    with pytest.raises(GovernedError) as caught:
        check_output({"a": "a" * 100_000}, schema)
    assert caught.value.error_type is ErrorType.OUTPUT_VALIDATION_ERROR
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no such page", "no such page"),
        ({"code": 3, "message": "no such page"}, "no such page"),
        ({"code": 3}, '{"code":3}'),
        (["one", "two"], '["one","two"]'),
        (True, "true"),
    ],
)
def test_an_error_in_a_result_is_an_error(value: object, message: str) -> None:
    """With its text, or the text in it, or what it is."""
    with pytest.raises(GovernedError) as caught:
        check_no_error({"error": value, "more": 1}, "error")
    assert caught.value.error_type is ErrorType.EXECUTION_ERROR
    assert caught.value.message == message


@pytest.mark.parametrize("result", [{}, {"error": None}, {"error": ""}, {"errors": "x"}])
def test_no_error_in_a_result_is_none(result: dict[str, object]) -> None:
    """An empty value is none, as other hosts have it."""
    check_no_error(result, "error")
    check_no_error({"error": "x"}, "")


def test_a_declared_error_is_no_success(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Before its schema is looked at, which is that of a success."""
    plugin = write_plugin(BODY, output_schema=SCHEMA, error_key="'error'")
    tool_runner = make_runner(plugin, layers=layers)
    result, error = tool_runner.run("sample", {"give": {"error": "no face in it"}})
    assert result is None
    assert error is not None
    assert (error["error"]["type"], error["error"]["message"]) == (
        "ExecutionError",
        "no face in it",
    )
    assert "exception" not in error["error"]["details"]
    status = tool_runner.registry.get_status("sample")
    assert (status.state, status.error_count) == ("FAILED", 1)


def test_a_resident_that_returns_what_is_no_result_serves_no_more(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """As with anything else that is no result: the next call has a fresh one."""
    body = """
        import os

        def run(payload):
            return {**payload["give"], "pid": os.getpid(), "n": []}
    """
    plugin = write_plugin(body, output_schema=SCHEMA, error_key="'error'", start='"resident"')
    tool_runner = make_runner(plugin, allow_resident=["sample"])
    for give in ({}, {}, {"error": "no"}, {}):
        tool_runner.run("sample", {"give": give})
    assert tool_runner.residents()["sample"].replaced == {"failed": 1}
