"""What a plugin may not return: checked on the plugin's side for its words, and again on ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.phase_12.test_nobody_is_spared_validation import known_words
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.errors import GovernedError
from toolrunner.runner.payloads.validation import ResultReader, validate_plugin_output
from toolrunner.sandbox.layers import Layers

RAW_REPLY = """
    import os, struct

    def run(payload):
        body = {body!r}
        os.write(3, struct.pack(">cI", b"R", len(body)) + body)
        os._exit(0)
"""


def failed(envelope: Envelope | None, error_type: str, words: str) -> None:
    """Assert that an envelope blames the plugin for what it returned."""
    assert envelope is not None
    error = envelope["error"]
    assert error["type"] == error_type, error["message"]
    assert words in error["message"]
    assert error["details"]["blame"] == "plugin"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("None", "None"),
        ("[]", "list"),
        ("'text'", "str"),
        ("7", "int"),
        ("True", "bool"),
        ("b'raw'", "str"),
        ("{'x': float('nan')}", "nan"),
        ("{'x': [float('inf')]}", "inf"),
        ("{1: 'x'}", "key"),
        ("{('a', 'b'): 'x'}", "key"),
        ("{'x': object()}", "object"),
        ("{'x': ValueError('as a value')}", "ValueError"),
        ("{'x': (n for n in range(3))}", "generator"),
        ("{'x': '\\ud800'}", "surrogate"),
        ("{'\\udfff': 1}", "surrogate"),
        ("(lambda d: d.update(me=d) or d)({})", "contains itself"),
        ("__import__('functools').reduce(lambda a, _: {'x': a}, range(100), {})", "nested"),
        ("{'x': 10 ** 5000}", "result['x'] has no JSON form"),
        ("{'x': [__import__('numpy').clongdouble(1)]}", "result['x'][0] is of type numpy.clongd"),
        ("(1, 2)", "a value of type tuple, in JSON a list"),
    ],
)
def test_what_is_no_strict_json_object_is_refused(
    value: str, words: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """The error says what it was and where it stood; the plugin has failed."""
    tool_runner = make_runner(write_plugin(f"def run(payload): return {value}"))
    result, envelope = tool_runner.run("sample", {})
    assert result is None
    failed(envelope, "OutputValidationError", words)
    assert tool_runner.registry.get_state("sample") == "FAILED"


def test_a_missing_return_is_guessed_at(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """The most common mistake gets its own hint."""
    _result, envelope = make_runner(write_plugin("def run(payload): pass")).run("sample", {})
    failed(envelope, "OutputValidationError", "perhaps a return is missing")


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("{'x': (1, 2)}", {"x": [1, 2]}),
        ("{'x': {3}}", {"x": [3]}),
        ("{'x': b'raw'}", {"x": "cmF3"}),
        ("{'x': __import__('pathlib').Path('a/b')}", {"x": "a/b"}),
        ("{'x': __import__('datetime').date(2026, 1, 31)}", {"x": "2026-01-31"}),
        ("{'x': __import__('numpy').float32(0.5)}", {"x": 0.5}),
        ("{'x': __import__('numpy').longdouble(0.5)}", {"x": 0.5}),
        ("{'x': __import__('decimal').Decimal('1.10')}", {"x": "1.10"}),
        ("__import__('collections').namedtuple('N', 'x')(1)", {"x": 1}),
        ("{'x': __import__('numpy').arange(4).reshape(2, 2)}", {"x": [[0, 1], [2, 3]]}),
        ("__import__('dataclasses').make_dataclass('D', ['x'])(1)", {"x": 1}),
        ("__import__('collections').OrderedDict(x=None)", {"x": None}),
        ("{'x': 2 ** 70}", {"x": 2**70}),
        ("{'\\u2028': '\\N{PILE OF POO}'}", {"\u2028": "\N{PILE OF POO}"}),
    ],
)
def test_near_relatives_of_json_are_converted(
    value: str, result: dict[str, Any], write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """What people do return from plugins arrives as plain values."""
    tool_runner = make_runner(write_plugin(f"def run(payload): return {value}"))
    assert tool_runner.run("sample", {}) == (result, None)


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        (b"null", "OutputValidationError"),
        (b"[]", "OutputValidationError"),
        (b'{"x": NaN}', None),
        (b'{"x": -Infinity}', None),
        (b'{"x": 1e400}', "OutputValidationError"),
        (b'{"x": 1, "x": 2}', "OutputValidationError"),
        (b'{"x": "\\ud800"}', "OutputValidationError"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
        (b"[" * 100_000, None),
        (b'{"x": "\xff"}', "ProtocolError"),
        (b'\xef\xbb\xbf{"x": 1}', "ProtocolError"),
        (b'{"x": 1} {"y": 2}', "ProtocolError"),
        (b'{"x": 1}\x00', "ProtocolError"),
        (b"{'x': 1}", "ProtocolError"),
        (b'{"x": 1', "ProtocolError"),
        (b"", "ProtocolError"),
        (b'{"x": ' + b"9" * 5000 + b"}", None),
    ],
    ids=range(17),
)
def test_a_reply_written_past_the_plugins_own_side_is_checked_again(
    body: bytes,
    error_type: str | None,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    layers: Layers,
) -> None:
    """The parent believes no byte: what strict JSON does not allow fails here as well."""
    tool_runner = make_runner(write_plugin(RAW_REPLY.format(body=body)), layers=layers)
    result, envelope = tool_runner.run("sample", {})
    assert result is None
    assert envelope is not None
    allowed = {error_type} if error_type else {"OutputValidationError", "ProtocolError"}
    assert envelope["error"]["type"] in allowed, envelope["error"]["message"]
    assert tool_runner.registry.get_state("sample") == "FAILED"


def test_no_word_in_a_reply_vouches_for_it() -> None:
    """Whatever key the runner knows: with all of them in it, a reply is refused all the same."""
    words = dict.fromkeys(known_words(), True)
    reader = ResultReader()
    for bad in ({"x": float("nan")}, {"x": "\ud800"}):
        assert not reader.is_sound(json.dumps(words | bad).encode())


@pytest.mark.parametrize("output", [None, [], "text", 7, {1: 2}, {"x": float("nan")}])
def test_the_check_itself_refuses(output: object) -> None:
    """``validate_plugin_output`` is usable by itself."""
    with pytest.raises(GovernedError) as caught:
        validate_plugin_output(output)
    assert caught.value.error_type.value == "OutputValidationError"


def test_the_check_itself_returns_what_is_fine() -> None:
    """An empty object is fine, and so is everything that JSON knows."""
    for output in ({}, {"a": [1, 2.5, None, True, {"b": "c"}]}):
        assert validate_plugin_output(output) == output


@pytest.mark.parametrize("start", ['"auto"', '"cold"', '"resident"'])
@pytest.mark.parametrize(
    ("give", "error_type", "words"),
    [
        ({"n": 1}, None, ""),
        ({"n": "one"}, "OutputValidationError", 'result["n"]: '),
        ({}, "OutputValidationError", "'n' is a required property"),
        ({"n": 1, "error": "no face in it"}, "ExecutionError", "no face in it"),
    ],
)
def test_a_result_is_held_against_what_its_manifest_says(
    give: dict[str, Any],
    error_type: str | None,
    words: str,
    start: str,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
) -> None:
    """``output_schema`` says what results are, ``error_key`` where an error stands in one."""
    plugin = write_plugin(
        "def run(payload): return payload",
        start=start,
        output_schema="{ required = ['n'], properties = { n = { type = 'integer' } } }",
        error_key='"error"',
    )
    tool_runner = make_runner(plugin, allow_resident=["sample"])
    result, envelope = tool_runner.run("sample", give)
    if error_type is None:
        assert (result, envelope) == (give, None)
    else:
        assert result is None
        failed(envelope, error_type, words)
