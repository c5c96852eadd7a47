"""Large JSON texts: read as small ones are, in pieces, and never more values than are taken."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from toolrunner.runner.payloads import json_pieces
from toolrunner.runner.payloads.json_pieces import PIECE_BYTES, TooManyValuesError
from toolrunner.runner.payloads.json_writing import dumps
from toolrunner.runner.payloads.strict_json import (
    MAX_VALUES,
    JsonError,
    NotJsonError,
    loads,
    parse_text,
)

MIB = 2**20
SIZE = MIB
# Shapes that could each keep a parser busy; the largest piece that is seen does not depend on them.
TAKEN: dict[str, bytes] = {
    "numbers": b"[" + b",".join([b"0.12345678901234567"] * (SIZE // 20)) + b"]",
    "empty lists": b"[" + b",".join([b"[]"] * 60_000) + b"]",
    "deep": b"[" + b",".join([b"[" * 90 + b"]" * 90] * 400) + b"]",
    "objects": b"[" + b",".join([b'{"a": {"b": [{}]}}'] * 10_000) + b"]",
    "short strings": b"[" + b",".join([b'"\\""'] * 100_000) + b"]",
    "strings of a piece": b"[" + b",".join([b'"' + b"\\n" * 32_000 + b'"'] * 60) + b"]",
    "one string of escapes": b'{"a": "' + b"\\n" * (SIZE // 2) + b'"}',
    "one string of pairs": b'["' + b"\\ud83d\\ude00" * (SIZE // 12) + b'", 1]',
    "one string of wide characters": '{"a": ["€😀é'.encode() + "😀".encode() * 200_000 + b'"]}',
    "one string of commas": b'{"a": "' + b",[{" * (SIZE // 3) + b'", "b": "' + b"]" * MIB + b'"}',
    "many keys": b"{" + b",".join(b'"key%d": %d' % (i, i) for i in range(40_000)) + b"}",
    "white space": b"[" + b" " * SIZE + b"1," + b"\n" * SIZE + b"{}]",
}
REFUSED: dict[str, tuple[bytes, str]] = {
    "a long key": (b'{"' + b"k" * SIZE + b'": 1}', "a key of more than 64 KiB"),
    "a long number": (b"[" + b"1" * SIZE + b"]", "a number or white space of more than 1024 KiB"),
    "too deep": (b"[" * SIZE, "nested more than 100 deep"),
    "a bit too deep": (
        b"[" + b"0, " * PIECE_BYTES + b"[" * 100 + b"]" * 100 + b"]",
        "nested more than 100 deep",
    ),
    "keys twice, far apart": (
        b'{"a": 1, "b": [' + b"0," * PIECE_BYTES + b'0], "a": 2}',
        'the key "a" occurs twice in one object',
    ),
    "keys twice": (b"{" + b",".join([b'"k": 1'] * 10**5) + b"}", 'the key "k" occurs twice'),
    "half a pair": (b'["' + b"x" * SIZE + b'\\ud83d"]', "a lone surrogate"),
    "half a pair in a piece": (b"[" + b"0," * PIECE_BYTES + b'"\\ud83d"]', "a lone surrogate"),
    "digits": (b"[" + b"0," * PIECE_BYTES + b"9" * 5000 + b"]", "a number has too many digits"),
    "no end": (b'["' + b"x" * SIZE, "not JSON"),
    "not UTF-8": (b'["' + b"x" * SIZE + b'\xff"]', "not UTF-8: byte 0xff at offset 1048578"),
}


class Parser:
    """Parses, and keeps the length of the longest text that it was given."""

    def __init__(self) -> None:
        self.longest = 0

    def __call__(self, text: str) -> object:
        """Parse a text."""
        self.longest = max(self.longest, len(text))
        return parse_text(text)


def read(data: bytes, parse: Callable[[str], object] = parse_text) -> object:
    """Read a text in pieces, whatever its size."""
    return json_pieces.read(data, parse, max_depth=100, max_values=MAX_VALUES)


@pytest.mark.parametrize("shape", TAKEN)
def test_the_parser_never_sees_more_than_a_piece(shape: str) -> None:
    """It holds the interpreter's lock meanwhile: its longest text is the others' longest stop."""
    parser = Parser()
    value = read(TAKEN[shape], parser)
    assert value == json.loads(TAKEN[shape])
    # With what opens and closes the containers around the piece.
    assert parser.longest < PIECE_BYTES + 100 * 40
    assert dumps(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize("shape", REFUSED)
def test_what_is_wrong_in_a_large_text_is_told(shape: str) -> None:
    """By the words of small texts, and with a kind of error that says whether it was JSON."""
    data, words = REFUSED[shape]
    with pytest.raises(JsonError) as raised:
        loads(data)
    assert words in str(raised.value)
    assert isinstance(raised.value, NotJsonError) == words.startswith("not")


def test_no_more_values_are_parsed_than_are_taken() -> None:
    """What is small as text and large in memory is refused before it is either."""
    parser = Parser()
    data = b"[" + b"[]," * (5 * MIB) + b"[]]"
    with pytest.raises(TooManyValuesError) as raised:
        read(data, parser)
    assert raised.value.most == MAX_VALUES
    assert MAX_VALUES < raised.value.observed < MAX_VALUES + PIECE_BYTES * 2


def test_values_are_counted_outside_of_strings() -> None:
    """A list or an object counts as three, an empty one as four, a key not at all."""
    text = b'{"a,[{": ["x,,,\\",", [], 1]}'  # 3 + 3 + 1 + 4 + 1
    assert loads(text, max_values=12) == {"a,[{": ['x,,,",', [], 1]}
    with pytest.raises(TooManyValuesError):
        loads(text, max_values=11)


def _value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.random()
    if depth < 5 and kind < 0.3:
        return [_value(chance, depth + 1) for _ in range(chance.randrange(6))]
    if depth < 5 and kind < 0.6:
        ends = ("", '"\\,[', "é")
        names = (str(chance.randrange(1000)) + chance.choice(ends) for _ in range(4))
        return {name: _value(chance, depth + 1) for name in names}
    return chance.choice([1, 2.5, None, True, 'x,[{"\\é', "😀\n" * chance.randrange(30), [], {}])


def _broken(text: bytes, chance: random.Random) -> bytes:
    data = bytearray(text)
    for _ in range(chance.randrange(1, 3)):
        at = chance.randrange(len(data))
        if chance.random() < 0.5:
            del data[at]
        else:
            data[at:at] = chance.choice([b",", b"[", b"]", b"{", b"}", b'"', b":", b"0", b"\\"])
    return bytes(data)


def _outcome(data: bytes, reader: Callable[[bytes], object]) -> object:
    try:
        return reader(data)
    except JsonError as error:
        return "a long key" if str(error).startswith("a key of more") else JsonError


def test_pieces_of_any_size_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for texts that are almost JSON: what one refuses, the other refuses."""
    monkeypatch.setattr(json_pieces, "PIECE_BYTES", 64)
    monkeypatch.setattr(json_pieces, "_WIDTHS", (64, 256, 1024))
    chance = random.Random(1)
    taken = 0
    for _ in range(150):
        text = json.dumps([_value(chance) for _ in range(5)], indent=chance.choice([None, 1]))
        for data in (text.encode(), *(_broken(text.encode(), chance) for _ in range(4))):
            whole = _outcome(data, loads)
            taken += whole is not JsonError
            assert _outcome(data, read) in (whole, "a long key"), data
    assert taken > 150
