"""What a migration found out, and what it would write: values, handed from module to module."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


def shown(path: Path) -> str:
    """Return a path in printable characters, whatever it is called."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing a person has to know: where, what, and what to do about it."""

    path: Path
    line: int
    what: str
    instead: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{shown(self.path)}:{self.line}: {self.what}; {self.instead}"


@dataclass(frozen=True, slots=True)
class Change:
    """One file as it shall be. ``before`` is ``None`` for one that is not there yet."""

    path: Path
    before: bytes | None
    after: bytes


@dataclass(slots=True)
class Plan:
    """Everything about one path: files to write, what a person has to do, and what to know.

    ``by_hand`` keeps the files of a plugin from being written, ``left`` is to be done all the
    same. ``plugins`` are names with what Toolrunner is to be given: those that are made, and those
    that were there.
    """

    changes: list[Change] = field(default_factory=list)
    by_hand: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    plugins: dict[str, Path] = field(default_factory=dict)

    @property
    def to_do(self) -> list[Finding]:
        """Everything that a person has to do."""
        return sorted({*self.by_hand, *self.left})

    def add(self, other: Plan) -> None:
        """Take over another plan; one that leaves something to do by hand keeps its files as is."""
        self.by_hand += other.by_hand
        self.left += other.left
        self.notes += other.notes
        if not other.by_hand:
            self.plugins |= other.plugins
            self.changes += other.changes
