"""Schemas of plugins: what they refuse, and that none of them can hurt the host."""

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.patterns import MAX_BYTES, MAX_STEPS, worst_cost
from toolrunner.runner.payloads.validation import validate_json_payload

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    },
    "required": ["name"],
    "additionalProperties": False,
}


MANY: dict[str, Any] = {f"k{number}": number for number in range(30_000)}


def refusal(payload: dict[str, Any], schema: dict[str, Any]) -> GovernedError:
    """Return the error with which a payload is refused."""
    with pytest.raises(GovernedError) as caught:
        validate_json_payload(payload, schema)
    return caught.value


LARGE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no object": (
        {"a": MANY},
        {"properties": {"a": {"type": "string"}}},
        "payload[\"a\"]: an object of 30,000 properties is not of type 'string'",
    ),
    "no array": (
        {"a": list(range(3000))},
        {"properties": {"a": {"enum": [1, 2]}}},
        'payload["a"]: an array of 3,000 items is not one of [1, 2]',
    ),
    "a text": (
        {"a": "x" * 3000},
        {"properties": {"a": {"type": "integer"}}},
        f"payload[\"a\"]: '{'x' * 40}…' (3,000 characters) is not of type 'integer'",
    ),
    "keys": (
        MANY,
        {"additionalProperties": False},
        (
            "payload: Additional properties are not allowed"
            " ('k0', 'k1', 'k2', 'k3', 'k4' and others were unexpected)"
        ),
    ),
    "keys of patterns": (
        {"b": 1, **MANY},
        {"additionalProperties": False, "patternProperties": {"^k": {}}},
        "payload: 'b' does not match any of the regexes: '^k'",
    ),
    "keys of nobody": (
        MANY,
        {"unevaluatedProperties": False},
        (
            "an object of 30,000 properties is too large to be checked against"
            " unevaluatedProperties of the plugin's input_schema; send 20,000 at most"
        ),
    ),
    "items of nobody": (
        {"a": [0] * 2_001},
        {"properties": {"a": {"contains": True, "unevaluatedItems": False}}},
        (
            "a list of 2,001 is too large to be checked against unevaluatedItems of the plugin's"
            " input_schema; send 2,000 at most"
        ),
    ),
    "a number that no float holds": (
        {"a": 10**400},
        {"properties": {"a": {"multipleOf": 0.5}}},
        (
            "a number is too large to be checked against multipleOf of the plugin's input_schema;"
            " send a smaller one"
        ),
    ),
    "keys that take long together": (
        {f"{'a' * 100}{number}": 0 for number in range(20_000)},
        {"patternProperties": {"a.*a.*b": {}}},
        (
            "matching all strings of the payload with the patterns of the plugin's input_schema"
            " takes too long; send a smaller payload"
        ),
    ),
}


@pytest.mark.parametrize("what", LARGE)
def test_what_is_large_is_not_written_out(what: str) -> None:
    """Its words took seconds to make, in which nothing else of the process ran."""
    payload, schema, words = LARGE[what]
    assert refusal(payload, schema).message == words


def test_large_values_that_fit_pass() -> None:
    """As they came."""
    numbers = {"additionalProperties": {"type": "integer"}}
    assert validate_json_payload(MANY, numbers).head == MANY
    same = {"properties": {"a": {"const": MANY}}, "additionalProperties": False}
    assert validate_json_payload({"a": MANY}, same).head == {"a": MANY}


def test_what_is_too_large_is_not_held_against_a_schema() -> None:
    """It is the size that is told, whatever else is wrong."""
    with pytest.raises(GovernedError, match="the plugin takes 1 MiB"):
        validate_json_payload({"a": "x" * (1 << 20)}, {"additionalProperties": False}, 1)


def test_payload_that_fits_its_schema_passes() -> None:
    """The payload comes back as it was, a second time from the cache too."""
    for _ in range(2):
        payload = {"name": "Ada", "tags": ["a", "b"]}
        assert validate_json_payload(payload, PERSON).head == payload


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({}, "payload: 'name' is a required property"),
        ({"name": 3}, 'payload["name"]: 3 is not of type'),
        ({"name": "x", "tags": ["a", 4]}, 'payload["tags"][1]: 4 is not of type'),
        ({"name": "x", "age": 4}, "payload: Additional properties are not allowed"),
        ({"name": "x", "tags": ["a", "a"]}, 'payload["tags"]: has items that occur more'),
    ],
)
def test_refusal_names_the_path(payload: dict[str, Any], words: str) -> None:
    """The caller is led to the part that does not fit."""
    error = refusal(payload, PERSON)
    assert error.error_type is ErrorType.VALIDATION_ERROR
    assert words in error.message


def test_message_does_not_carry_the_whole_payload() -> None:
    """A megabyte of payload is not repeated in the refusal."""
    assert len(refusal({"name": ["x"] * 500_000}, PERSON).message) < 1000


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/nowhere"},
        {"type": "no such type"},
        {"type": 3},
        {"properties": []},
        {"properties": {"a": {"pattern": "("}}},
        {"multipleOf": 0},
        {"not JSON": {1, 2}},
        {"$schema": "https://example.com/dialect", "$dynamicRef": "#x"},
    ],
)
def test_broken_schema_blames_the_plugin(schema: dict[str, Any]) -> None:
    """Endless, remote and nonsensical schemas are the author's fault, and nothing is fetched."""
    error = refusal({"a": "b"}, schema)
    assert error.error_type is ErrorType.PLUGIN_UNAVAILABLE
    assert "input_schema" in error.message


def test_schema_may_refer_to_the_dialect_itself() -> None:
    """The known meta-schemas are there without a network."""
    schema = {"$ref": "https://json-schema.org/draft/2020-12/schema"}
    assert validate_json_payload({"type": "object"}, schema).head


def test_recursive_schema_that_ends_is_fine() -> None:
    """A tree of any height the payload may have."""
    schema: dict[str, Any] = {"properties": {"child": {"$ref": "#"}}, "additionalProperties": False}
    payload: dict[str, Any] = {}
    for _ in range(60):
        payload = {"child": payload}
    validate_json_payload(payload, schema)


DOUBLING: dict[str, Any] = {
    "$ref": "#/$defs/0",
    "$defs": {
        **{str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(40)},
        "40": {"type": "object"},
    },
}


def test_schema_that_multiplies_itself_runs_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty doublings would take for ever; the allowance of processor time ends it."""
    monkeypatch.setattr("toolrunner.runner.payloads.schema.MAX_SECONDS", 0.2)
    error = refusal({"a": 1}, DOUBLING)
    assert error.error_type is ErrorType.VALIDATION_ERROR
    assert "took longer" in error.message


def test_a_check_ends_when_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would go on for ever; that it was withdrawn is its caller's to tell."""
    monkeypatch.setattr("toolrunner.runner.payloads.schema.MAX_SECONDS", math.inf)
    asked = iter(range(1000))
    payload = {"a": 1}
    checked = validate_json_payload(payload, DOUBLING, is_withdrawn=lambda: next(asked) == 999)
    assert checked.head == payload


@pytest.mark.parametrize(
    "pattern",
    [r"^(a+)+$", r"^(a|a)*$", r"^(a|aa)+$", r"(.*)*x", r"^(\w+\s?)*$", r"(a*)\1$", r"(?=(a+)+$)a"],
)
def test_pattern_that_explodes_is_never_matched(pattern: str) -> None:
    """Each of these takes ages on forty letters in Python's matcher; here it blames its author."""
    schemas: tuple[dict[str, Any], ...] = (
        {"properties": {"a": {"pattern": pattern}}},
        {"patternProperties": {pattern: {}}},
        {"patternProperties": {pattern: {}}, "additionalProperties": False},
    )
    for schema in schemas:
        error = refusal({"a": "a" * 40 + "!", "a" * 40 + "!": 1}, schema)
        assert error.error_type is ErrorType.PLUGIN_UNAVAILABLE
        assert "exponential" in error.message


@pytest.mark.parametrize(
    ("pattern", "length"),
    [
        (r"(?:(?=a)){1000}x", 500_000),
        (r"(?:(?=a)){6000}x", 500_000),
        (r"a{20000}b", 1_000_000),
        (r"^(?:(?:(?=a)){10000}){1200}x", 1),
        (r"^(?:(?:(?=a)){30000}){3000}x", 1),
        (r"^(?:(?:(?=a)){4000000000}){4000000000}x", 1),
        (r"^(?:(?:ab)(?:c)?)*$", 10_000_000),
    ],
)
def test_work_that_leaves_no_choice_counts_too(pattern: str, length: int) -> None:
    """What is repeated without a choice takes its time all the same, and is remembered."""
    schema = {"properties": {"a": {"pattern": pattern}}}
    message = refusal({"a": "a" * length}, schema).message
    assert "exponential" in message or "is too long to be checked" in message


@pytest.mark.parametrize(
    ("pattern", "length"),
    [
        (r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$", 320),
        (r"^[A-Za-z0-9+/]+={0,2}$", 1_000_000),
        (r"^.*\.png$", 4_000),
        (r"^(?!.*\.\.)[a-z.]+$", 500),
    ],
)
def test_a_repeat_ends_where_no_more_of_it_comes(pattern: str, length: int) -> None:
    """If what follows begins otherwise: no other end is worth a try."""
    steps, held = worst_cost(pattern, length)
    assert steps <= MAX_STEPS
    assert held <= MAX_BYTES


@pytest.mark.parametrize(
    "pattern",
    [r"^a+a+$", r"^a+[ab]+$", r"^[^b]+a+$", r"^a+b*a+$", r"^.+a+$", r"^\w+a+$", r"^a+(?:a)+$"],
)
def test_elsewhere_each_end_of_a_repeat_is_one_to_try(pattern: str) -> None:
    """What follows may begin with more of it."""
    assert worst_cost(pattern, 10_000)[0] > 10_000**2


def test_pattern_too_slow_for_a_long_string_blames_the_string() -> None:
    """A quadratic pattern is fine for a line, and not for a book."""
    schema = {"properties": {"a": {"pattern": "a.*b"}}}
    validate_json_payload({"a": "xx a and b"}, schema)
    error = refusal({"a": "a" * 100_000}, schema)
    assert error.error_type is ErrorType.VALIDATION_ERROR
    assert "100000 characters" in error.message


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^[a-z0-9-]{0,63}$", "my-plugin"),
        (r"^\d{4}-\d{2}-\d{2}$", "2026-01-31"),
        (r"^(red|green|blue)$", "green"),
        (r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$", "ada@example.org"),
        (r"^(\d{1,3}\.){3}\d{1,3}$", "192.168.1.12"),
        (r"\S", "x" * 1_000_000),
        (r"^#[0-9a-fA-F]{6}$", "#00ff7f"),
        (r"(?i)^https?://", "HTTPS://x"),
    ],
)
def test_everyday_patterns_are_matched(pattern: str, text: str) -> None:
    """What authors usually write is let through, and judged by the pattern."""
    schema = {"properties": {"a": {"pattern": pattern}}}
    validate_json_payload({"a": text}, schema)
    assert refusal({"a": " " * 3}, schema).error_type is ErrorType.VALIDATION_ERROR


# Of what a later Python may read otherwise, re warns; people write such patterns too.
@pytest.mark.filterwarnings("ignore:Possible:FutureWarning")
@given(st.text("ab.*+?|()[]{}1,^$\\", max_size=8), st.integers(0, 10**6))
def test_cost_of_any_pattern_is_known(pattern: str, length: int) -> None:
    """It is a number of at least one, and grows with the string."""
    try:
        re.compile(pattern)
    except re.error:
        return
    assert 1 <= worst_cost(pattern, length)[0] <= worst_cost(pattern, length + 1)[0]
    steps, held = worst_cost(pattern, 20)
    if steps <= MAX_STEPS and held <= MAX_BYTES:
        re.search(pattern, "a" * 20)


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, 1.0], False),
        ([1, True], True),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], False),
        ([[1], [2]], True),
        ([0, False, None, "", [], {}], True),
        ([], True),
        (list(range(50_000)), True),
        ([[n] for n in range(50_000)] + [[0]], False),
    ],
)
def test_unique_items_compares_as_json_does(items: list[Any], unique: bool) -> None:
    """1 and 1.0 are one number, 1 and true are not; and many items take no quadratic time."""
    schema = {"properties": {"a": {"uniqueItems": True}}}
    if unique:
        validate_json_payload({"a": items}, schema)
    else:
        assert refusal({"a": items}, schema).error_type is ErrorType.VALIDATION_ERROR


def test_other_drafts_are_understood() -> None:
    """A schema that names its dialect is read by that."""
    schema = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "properties": {"a": {"maximum": 3, "exclusiveMaximum": True}},
    }
    assert refusal({"a": 3}, schema).error_type is ErrorType.VALIDATION_ERROR
