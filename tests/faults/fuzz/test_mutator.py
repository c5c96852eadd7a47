"""The fuzz itself: it can be repeated, it reaches what it is for, and it says how to try again."""

from __future__ import annotations

import pytest

from tests.faults.fuzz.mutator import Mutator, cuttings, try_each
from tests.faults.fuzz.test_frames import FINALS, MIDDLES, refused, streams
from toolrunner.sandbox.inside import protocol


def test_a_seed_gives_the_same_cases_again() -> None:
    """And another seed others."""
    first, again, other = (list(Mutator(s).cases(FINALS, 200)) for s in ("a", "a", "b"))
    assert first == again
    assert first != other
    assert len(set(first)) > 150


def test_streams_meet_every_kind_of_frame_and_of_refusal() -> None:
    """A fuzz that is refused at the first byte, or never, tries nothing."""
    drawn = streams(Mutator("any"))
    read = [refused(next(drawn)) for _ in range(2000)]
    assert {why for _, why, _ in read} == {
        "", "unknown kind", "too large", "more than", "after the reply", "without a head",
        "with a head of",
    }  # fmt: skip
    kinds = {kind for frames, _, _ in read for kind, _ in frames}
    assert kinds == set(map(bytes, zip(b"AcSKlFPRUX", strict=True)))
    assert sum(len(frames) for frames, _, _ in read) > 5 * len(read)


def test_cuttings_end_at_the_end_and_depend_on_the_bytes_alone() -> None:
    """So a case is repeated by its bytes."""
    stream = b"".join(MIDDLES)
    assert cuttings(stream) == cuttings(bytes(stream))
    assert all(ends == sorted(ends) and ends[-1] == len(stream) for ends in cuttings(stream))
    assert all(ends[-1] == 0 for ends in cuttings(b""))


def test_a_failure_names_the_seed_the_case_and_the_bytes() -> None:
    """What is needed to see it again, and to keep it."""

    def check(data: bytes) -> int:
        if data == b"\xff":
            raise KeyError(protocol.RAISED)
        return 1

    with pytest.raises(AssertionError, match="seed 'one', case 2, bytes ff: KeyError") as caught:
        try_each("one", [b"a", b"b", b"\xff"], check)
    assert isinstance(caught.value.__cause__, KeyError)
    assert try_each("one", [b"a", b"b"], check) == 2
