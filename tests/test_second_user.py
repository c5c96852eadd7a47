"""What a second user leaves out is there."""

from __future__ import annotations

from tests.second_user import ROOT, SAME


def test_what_is_left_out_exists() -> None:
    """A renamed file would be run twice without anybody's notice."""
    names = [name for group in SAME.values() for name in group]
    for file, _, test in (name.partition("::") for name in names):
        path = ROOT / file
        assert path.exists(), file
        assert not test or f"def {test}(" in path.read_text(), test
    assert len(names) == len(set(names))
