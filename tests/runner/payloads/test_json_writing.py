"""JSON text of values: the same as the encoder's, whatever it is put together from."""

from __future__ import annotations

import json
from typing import Any

import pytest

from toolrunner.runner.payloads.json_writing import dumps

LARGE: dict[str, Any] = {
    "numbers": list(range(5000)),
    "a long string": {"a": 'x"\n€😀' * 50_000},
    "a long key": {"k" * 200_000: 1, "b": []},
    "many keys": {f"key{i}": i for i in range(5000)},
    "mixed": [1, [2.5, {"a": [None, True]}], {}, [], (), "x" * 70_000, -0.0] * 500,
    "objects of objects": {"a": {"b": {"c": [{}] * 3000}}, "d": "e"},
    "a tuple": tuple(range(3000)),
}


@pytest.mark.parametrize("shape", LARGE)
def test_large_values_are_written_as_the_encoder_writes_them(shape: str) -> None:
    """In pieces, which nobody sees."""
    text = json.dumps(LARGE[shape], ensure_ascii=False, separators=(",", ":"))
    assert dumps(LARGE[shape]) == text.encode()


@pytest.mark.parametrize("value", [{1: "a"}, {1: [0] * 5000}, {"a": {None: "x" * 100_000}}])
def test_keys_that_are_no_strings_are_the_encoders_to_judge(value: Any) -> None:
    """It makes strings of them."""
    assert json.loads(dumps(value)) == json.loads(json.dumps(value))


@pytest.mark.parametrize("value", [{"a": object()}, [object()] * 5000, [float("nan")] * 5000])
def test_what_is_no_json_is_refused(value: Any) -> None:
    """In small values and in large ones."""
    with pytest.raises((TypeError, ValueError)):
        dumps(value)
