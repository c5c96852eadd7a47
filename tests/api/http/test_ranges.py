"""What a header asks for: all, a piece, or nothing new."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrunner.api.http.ranges import UnsatisfiableError, is_known, wanted_range

TAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 10)),
        ("bytes=3-5", (3, 6)),
        ("Bytes= 3-5 ", (3, 6)),
        ("bytes=,3-5,", (3, 6)),
        ("bytes=9-99999999999999999999", (9, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-10", (0, 10)),
        ("bytes=-99", (0, 10)),
        (None, None),
        ("", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=5-3", None),
        ("bytes=a-b", None),
        ("bytes=1-2,4-5", None),
        ("bytes=\u0663-\u0665", None),
        ("bytes=+1-2", None),
        ("bytes=--1", None),
        ("lines=1-2", None),
        ("bytes=0-" + "9" * 5000, None),
    ],
)
def test_one_range_is_a_piece_and_all_else_is_everything(
    header: str | None, wanted: tuple[int, int] | None
) -> None:
    """As RFC 9110 lets a server do."""
    assert wanted_range(header, None, TAG, 10) == wanted


@given(st.text("bytes=-,0123456789 x\u0663", max_size=30), st.integers(0, 1000))
def test_no_header_asks_for_more_than_there_is(text: str, size: int) -> None:
    """Nor for less than a byte, whatever is in it."""
    for header in (text, f"bytes={text}"):
        try:
            found = wanted_range(header, None, TAG, size)
        except UnsatisfiableError:
            continue
        assert found is None or 0 <= found[0] < found[1] <= size


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_none(header: str) -> None:
    """There is nothing that could be sent."""
    with pytest.raises(UnsatisfiableError):
        wanted_range(header, None, TAG, 10)


def test_nothing_has_no_first_byte() -> None:
    """But all of it are its last ones."""
    assert wanted_range("bytes=-5", None, TAG, 0) is None
    with pytest.raises(UnsatisfiableError):
        wanted_range("bytes=0-", None, TAG, 0)


@pytest.mark.parametrize(
    ("if_range", "is_piece"),
    [
        (TAG, True),
        (None, True),
        ('"other"', False),
        (f"W/{TAG}", False),
        ("Wed, 21 Oct 2015 07:28:00 GMT", False),
    ],
)
def test_a_piece_is_of_what_the_client_has(if_range: str | None, *, is_piece: bool) -> None:
    """Of anything else it gets everything."""
    assert wanted_range("bytes=1-2", if_range, TAG, 10) == ((1, 3) if is_piece else None)


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (None, False),
        ("", False),
        ("*", True),
        (TAG, True),
        (f"W/{TAG}", True),
        (f'"x", {TAG},"y"', True),
        ('"x"', False),
        ("abc", False),
    ],
)
def test_a_client_that_has_it_says_so(header: str | None, *, known: bool) -> None:
    """By one of the tags that it sends, strong or weak."""
    assert is_known(header, TAG) is known
