"""JSON from both sides: what is taken is strict JSON and nothing else, and all of that is taken."""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.fuzz.mutator import Mutator, try_each
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.json_values import MAX_DEPTH
from toolrunner.runner.payloads.strict_json import JsonError, NotJsonError, loads
from toolrunner.runner.payloads.validation import (
    parse_result,
    validate_input_payload,
    validate_json_payload,
)
from toolrunner.sandbox.capture import LogLines, parse_line

TEXTS_A_SLICE = 3000
CORPUS = (
    b'{"a": [1, 2.5, "x", null, true], "b": {"c": -0.0, "d": 1e10, "e": ""}}',
    b'[[[[[[[[]]]]]]], {"a": {"b": {"c": [{}]}}}]',
    '{"text": "é 😀 “”", "escaped": "\\u00e9 \\ud83d\\ude00 \\n \\\\"}'.encode(),
    b'{"level": 20, "logger": "sample", "message": "half\\nway"}',
    b'{"image": "aGVsbG8=", "mime_type": "image/png", "options": {"deep": [[1]]}}',
    b'  {"a" : 1 , "b":[ ] }\r\n\t',
    b'"' + b"[{" * 120 + b'"',
    b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
    b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    b"[" * 4000 + b"]" * 4000,
    b"123456789012345678901234567890",
    b"null",
)
# Bytes that have failed once, or are the shortest way to what once was a danger.
KNOWN = (
    b"",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'"\\"' + b"[" * 100_000,
    b'["' + b"\\\\" * 50_000 + b'"' + b"[" * 50_000,
    b"9" * 4300,
    b"9" * 4301,
    b"-" + b"9" * 4301,
    b"1e400",
    b"-1e400",
    b"NaN",
    b'{"a": 1, "a": 2}',
    b'{"\\u0061": 1, "a": 2}',
    b'"\\ud800"',
    b'{"\\udfff": 1}',
    b'"\\ud83d\\ude00"',
    b'"\xed\xa0\x80"',
    b"\xef\xbb\xbf{}",
    '{"a": 1}'.encode("utf-16"),
    b"\xff",
    b"{}\x00",
)


class _OtherwiseError(Exception):
    """A text that the standard library takes, and strict JSON does not."""


def lenient(data: bytes) -> object:
    """Read what is strict JSON by the standard library's words; ``ValueError`` for the rest."""
    text = data.decode()
    value = json.loads(text, parse_constant=_refuse, object_pairs_hook=_pairs)
    for depth, part in _parts(value):
        if depth > MAX_DEPTH:
            raise _OtherwiseError
        if isinstance(part, float) and not math.isfinite(part):
            raise _OtherwiseError
        if isinstance(part, str):
            part.encode()
    return value


def _refuse(_name: str) -> object:
    raise _OtherwiseError


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise _OtherwiseError
    for name, _ in pairs:
        name.encode()
    return dict(pairs)


def _parts(value: object) -> list[tuple[int, object]]:
    """Return each part of a value with the number of containers down to it, itself included."""
    parts: list[tuple[int, object]] = []
    waiting = [(0, value)]
    while waiting:
        depth, part = waiting.pop()
        is_container = isinstance(part, dict | list)
        parts.append((depth + is_container, part))
        if isinstance(part, dict):
            waiting += [(depth + 1, inner) for inner in part.values()]
        elif isinstance(part, list):
            waiting += [(depth + 1, inner) for inner in part]
    return parts


def check_text(data: bytes) -> int:
    """Read ``data`` every way in which the product reads JSON that others wrote."""
    try:
        wanted = lenient(data)
        is_strict = True
    except (_OtherwiseError, ValueError, RecursionError):
        is_strict = False
    try:
        value = loads(data)
    except JsonError as error:
        check_words(str(error), is_strict=is_strict)
    else:
        assert is_strict, "taken, and not strict JSON"
        assert written(value) == written(wanted)
        assert written(loads(written(value))) == written(value)
    check_result(data, is_strict=is_strict)
    check_log_line(data)
    return 1


def check_words(words: str, *, is_strict: bool) -> None:
    """A refusal is of what is not strict, and says so in words that can be shown."""
    assert not is_strict, words
    assert len(words.encode()) < 1000


def check_type(error: GovernedError, due: ErrorType) -> None:
    """A refusal is of the one type that it has to be."""
    assert error.error_type is due


def written(value: object) -> bytes:
    """Return a value as strict JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def check_result(data: bytes, *, is_strict: bool) -> None:
    """As a plugin's reply, and what came of it as another's payload."""
    try:
        result = parse_result(data)
    except GovernedError as error:
        is_none = isinstance(error.__context__, NotJsonError)
        due = ErrorType.PROTOCOL_ERROR if is_none else ErrorType.OUTPUT_VALIDATION_ERROR
        check_type(error, due)
        return
    assert is_strict
    assert loads(validate_json_payload(result).head_json) == result
    check_image(result)


def check_image(payload: dict[str, Any]) -> None:
    """As the payload of a plugin that takes images."""
    try:
        ready = validate_input_payload(payload)
    except GovernedError as error:
        check_type(error, ErrorType.VALIDATION_ERROR)
        return
    assert ready.image
    assert base64.b64encode(ready.image).decode() == payload["image"]
    assert loads(ready.head_json) == {k: v for k, v in payload.items() if k != "image"}


def check_log_line(data: bytes) -> None:
    """As a line of a plugin's log."""
    record = parse_line(data)
    if record is not None:
        level, logger, message = record
        assert 0 <= level <= 50
        assert type(logger) is type(message) is str


@pytest.mark.usefixtures("part")
def test_what_is_read_is_strict_json_and_all_of_it(
    seed: str, mutator: Mutator, count: Callable[[str, int], None]
) -> None:
    """Text that was written by an enemy is a value that can be written again, or a JsonError."""
    count("texts", try_each(seed, mutator.cases(CORPUS, TEXTS_A_SLICE), check_text))


@pytest.mark.parametrize("data", [*CORPUS, *KNOWN], ids=range(len(CORPUS) + len(KNOWN)))
def test_texts_that_failed_once(data: bytes) -> None:
    """Whoever wrote them, and however they came up."""
    check_text(data)


@given(st.text(alphabet='[]{}"\\,:0au\ud83d', max_size=40))
def test_texts_of_what_means_something_to_a_parser(text: str) -> None:
    """Brackets, quotes and backslashes in every order: the depth is never misjudged."""
    check_text(text.encode("utf-8", "surrogatepass"))


_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(alphabet=st.characters(), max_size=5),
    st.binary(max_size=5),
    st.none().map(lambda _: 10**4300),
    st.builds(object),
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), inner, max_size=4),
        st.sets(st.integers(), max_size=2),
    ),
)


@given(st.one_of(_VALUES, st.dictionaries(st.text(max_size=3), _VALUES, max_size=4)))
def test_a_payload_of_python_values_can_be_sent_or_is_refused(value: Any) -> None:
    """Whatever a caller hands over: what is accepted is read back by the strictest reader."""
    try:
        ready = validate_json_payload(value)
    except GovernedError as error:
        check_type(error, ErrorType.VALIDATION_ERROR)
        return
    assert isinstance(loads(ready.head_json), dict)


@given(st.one_of(_LEAVES, st.text(alphabet="Aa09+/= \n-_", max_size=9)), _LEAVES)
def test_an_image_of_any_kind_is_bytes_or_is_refused(image: Any, mime_type: Any) -> None:
    """Only canonical base64 is taken as text."""
    payload = {"image": image, "mime_type": mime_type}
    try:
        ready = validate_input_payload(payload)
    except GovernedError as error:
        check_type(error, ErrorType.VALIDATION_ERROR)
        return
    text = image if isinstance(image, str) else base64.b64encode(image).decode()
    assert base64.b64encode(ready.image or b"").decode() == text
    assert ready.image


@given(st.lists(st.one_of(st.sampled_from(CORPUS), st.binary(max_size=9)), max_size=9))
def test_a_log_of_any_lines_is_passed_on_within_its_bytes(lines: list[bytes]) -> None:
    """What a plugin writes to its log is a record or is counted as dropped."""
    passed: list[tuple[int, str, str]] = []
    log = LogLines(200, lambda *record: passed.append(record))
    read, write = os.pipe()
    os.set_blocking(read, False)
    try:
        for line in lines:
            os.write(write, line)
            assert log.read(read)
            os.write(write, b"\n")
            assert log.read(read)
    finally:
        os.close(write)
        assert not log.read(read)
        os.close(read)
    assert sum(len(message) for _, _, message in passed) <= 200
