"""Strict JSON: what is taken, what is refused, with words that lead to the place."""

import enum
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrunner.runner.payloads.strict_json import JsonError, NotJsonError, check, loads

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def nested(depth: int) -> Any:
    """Return a list of that depth."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


class Colour(enum.IntEnum):
    """An int by another name."""

    RED = 1


@given(JSON)
def test_what_json_writes_is_read_back(value: Any) -> None:
    """Anything strict passes both ways unchanged."""
    check(value)
    assert loads(json.dumps(value, ensure_ascii=False).encode()) == value
    assert loads(json.dumps(value).encode()) == value


@given(st.binary(max_size=60) | st.text('[]{}",:\\au0123d89f e+-.NI', max_size=60).map(str.encode))
def test_no_bytes_raise_anything_but_json_errors(data: bytes) -> None:
    """Reading is total; and what it returns is strict, too."""
    try:
        value = loads(data)
    except JsonError:
        return
    check(value)
    assert value == json.loads(data)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"NaN", "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"[1e999]", "1e999 is too large"),
        (b"[-1E+400]", "too large"),
        (b'{"a": 1, "b": 2, "a": 1}', 'the key "a" occurs twice'),
        (b'[{"x": {"a": 1, "\\u0061": 1}}]', 'the key "a" occurs twice'),
        (rb'["\ud800"]', "lone surrogate"),
        (rb'{"a": ["x", "\udfff"]}', '["a"][1]: a lone surrogate'),
        (rb'{"\uDABC": 1}', "lone surrogate"),
        (b"1" * 5000, "too many digits"),
        (b"[" * 101 + b"]" * 101, "nested more than 100"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "nested more than 100"),
        (b'[{"a":' * 51 + b"1" + b"}]" * 51, "nested more than 100"),
        (b"[" * 100_000, "nested more than 100"),
        (b'[{"a":' * 100_000, "nested more than 100"),
        (b'["\\\\",' + b"[" * 100 + b"]" * 100 + b"]", "nested more than 100"),
    ],
)
def test_json_that_is_not_strict_is_refused(text: bytes, words: str) -> None:
    """Each refusal says what is wrong; it is JSON of a kind, so not a NotJsonError."""
    with pytest.raises(JsonError) as caught:
        loads(text)
    assert words in str(caught.value)
    assert not isinstance(caught.value, NotJsonError)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "line 1 column 1"),
        (b"[1,]", "column 4"),
        (b"{'a': 1}", "double quotes"),
        (b"1 2", "Extra data"),
        (b"{}\x00", "Extra data"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'"\xff"', "byte 0xff at offset 1"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        ("[1]".encode("utf-16"), "not UTF-8"),
        ("[1]".encode("utf-16-le"), "not JSON"),
        (b'"tab\there"', "control character"),
    ],
)
def test_what_is_no_json_at_all_says_where(text: bytes, words: str) -> None:
    """Syntax and encoding errors are a kind of their own, and name the place."""
    with pytest.raises(NotJsonError) as caught:
        loads(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100 + b"]" * 100,
        b'["' + b"[" * 500 + b'"]',
        b'["\\"' + b"[" * 500 + b'"]',
        b'["\\\\", "' + b"{" * 500 + b'\\\\"]',
        b'{"' + b"[" * 500 + b'": 1}',
        b"[" + b"[]," * 5000 + b"[]]",
        b"[" + b'{"a": [{}, []]},' * 500 + b"[]]",
    ],
)
def test_depth_counts_brackets_outside_strings_only(text: bytes) -> None:
    """Brackets in strings and side by side are no nesting."""
    assert loads(text) == json.loads(text)


BRACKETED = st.text('[]{}"\\a', max_size=4)


@given(
    st.recursive(
        BRACKETED | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(BRACKETED, inner, max_size=3),
    ),
    st.integers(0, 6),
)
def test_depth_of_text_and_of_values_agree(value: Any, bound: int) -> None:
    """The scan of a text lets through exactly what the look through the value does."""
    text = json.dumps(value).encode()
    try:
        check(value, max_depth=bound)
    except JsonError:
        with pytest.raises(JsonError, match=f"nested more than {bound} deep"):
            loads(text, max_depth=bound)
    else:
        assert loads(text, max_depth=bound) == value


def test_nesting_of_a_hundred_thousand_values_is_no_danger() -> None:
    """A value deeper than Python's stack is refused like one a little too deep."""
    with pytest.raises(JsonError, match="nested more than 100 deep"):
        check(nested(100_000))
    check(nested(100))
    with pytest.raises(JsonError, match="nested more than 100 deep"):
        check(nested(101))


def cyclic_list() -> Any:
    """Return a list that holds itself twice."""
    value: list[Any] = [1]
    value += [value, value]
    return value


def cyclic_dict() -> Any:
    """Return a dict that comes back to itself further down."""
    value: dict[str, Any] = {}
    value["a"] = [{"b": value}]
    return value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (cyclic_list(), "payload[1]: contains itself"),
        (cyclic_dict(), 'payload["a"][0]["b"]: contains itself'),
        ({"a": [0, 1, 2, float("nan")]}, 'payload["a"][3]: nan is not JSON'),
        ([1.0, {"x": float("-inf")}], 'payload[1]["x"]: -inf is not JSON'),
        ({1: 2}, "payload: the key 1 is of type int; use a string"),
        ({"a": [{None: 1}]}, 'payload["a"][0]: the key None is of type NoneType'),
        ({(1, 2): 1}, "the key <tuple> is of type tuple"),
        ({"a": {"\ud800": 1}}, 'payload["a"]: the key "\\ud800" has a lone surrogate'),
        (["ok", "\udc00"], "payload[1]: a lone surrogate"),
        ({"a": b"x"}, 'payload["a"]: bytes is not JSON'),
        ({"a": {1, 2}}, 'payload["a"]: set is not JSON'),
        ([10**5000], "payload[0]: a number of more than 4300 digits"),
        ([-(10**5000)], "payload[0]: a number of more than 4300 digits"),
        ({10**5000: 1}, "the key <int>"),
        (object(), "payload: object is not JSON"),
        ({"a\n": 1j}, 'payload["a\\n"]: complex is not JSON'),
    ],
)
def test_faulty_value_is_named_with_its_path(value: object, words: str) -> None:
    """The message leads to the place."""
    with pytest.raises(JsonError) as caught:
        check(value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        (1, (2, ())),
        [[], [], []],
        [Colour.RED, True, None, 1.5],
        {"k": {}, "l": {}},
        [10**4299],
        "plain",
        0,
        None,
    ],
)
def test_what_json_can_carry_is_taken(value: object) -> None:
    """Tuples count as lists, and kinds of int as int."""
    check(value)


def test_shared_parts_are_no_cycle() -> None:
    """One list in two places is written twice, and that is fine."""
    shared = [1, 2, {"a": "b"}]
    check({"x": shared, "y": [shared, shared]})


def test_small_value_with_an_endless_text_is_refused() -> None:
    """Ninety lists, each holding the next one twice, would be 2 ** 90 values as text."""
    value: Any = ["x"]
    for _ in range(90):
        value = [value, value]
    with pytest.raises(JsonError, match="would be larger than 256 MiB"):
        check(value)
    with pytest.raises(JsonError, match="would be larger than 256 MiB"):
        check(["x" * 1_000_000] * 1000)
    check(["x" * 1000] * 1000)
