"""Edits of the real source, for a scanner to judge; one that no longer applies is an error."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Edit:
    """``old`` becomes ``new`` in one file; without an ``old``, ``new`` goes to its end.

    Without a ``new`` the file is not there at all. With ``is_word``, every such word becomes it.
    """

    path: str
    old: str | None = None
    new: str | None = None
    is_word: bool = False

    def applied(self, before: str | None) -> str | None:
        """Return the file's text after the edit; ``None`` when there is none any more."""
        if self.new is None:
            assert before is not None, f"{self.path} is not there to be removed"
            return None
        if self.old is None:
            return (before or "") + self.new
        assert before is not None, f"{self.path} is not there to be edited"
        if self.is_word:
            after, count = re.subn(rf"\b{self.old}\b", self.new, before)
            assert count, f"{self.path} has no word {self.old}: mend this edit"
            return after
        count = before.count(self.old)
        assert count == 1, f"{self.path} has {self.old!r} {count} times: mend this edit"
        after = before.replace(self.old, self.new)
        assert after != before
        return after


@dataclass(frozen=True)
class Case:
    """An edited source; ``rules`` are exactly those that have to find it: none for an innocent."""

    name: str
    edits: tuple[Edit, ...]
    rules: frozenset[str]

    def texts(self) -> dict[str, str | None]:
        """Return the edited files' texts."""
        texts: dict[str, str | None] = {}
        for edit in self.edits:
            file = ROOT / edit.path
            real = file.read_text(encoding="utf-8") if file.is_file() else None
            texts[edit.path] = edit.applied(texts.get(edit.path, real))
        return texts


def swap(path: str, old: str, new: str) -> Edit:
    """Return an edit of a place that stands once in the file."""
    return Edit(path, old, new)


def append(path: str, text: str) -> Edit:
    """Return an edit that puts text at the end of a file, or makes a file of it."""
    return Edit(path, None, "\n\n" + textwrap.dedent(text))


def rename(path: str, old: str, new: str) -> Edit:
    """Return an edit of every such word in a file."""
    return Edit(path, old, new, is_word=True)


def remove(path: str) -> Edit:
    """Return an edit that takes a file away."""
    return Edit(path)


def mutant(rule: str, name: str, *edits: Edit, also: tuple[str, ...] = ()) -> Case:
    """Return a case that ``rule`` has to find, and with it only those that ``also`` have to."""
    return Case(f"{rule}-{name}", edits, frozenset({rule, *also}))


def innocent(name: str, *edits: Edit) -> Case:
    """Return a case in which nothing may be found."""
    return Case(name, edits, frozenset())
