"""What a second user leaves out is there."""

from __future__ import annotations

from tests.second_user import ROOT, SAME


def test_what_is_left_out_exists() -> None:
    """A renamed file would be run twice without anybody's notice."""
    names = [name for group in SAME.values() for name in group]
    assert [name for name in names if not (ROOT / name).exists()] == []
    assert len(names) == len(set(names))
