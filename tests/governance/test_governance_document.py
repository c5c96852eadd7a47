"""docs/governance.md: every statement has a rule or a test, and every rule a statement."""

from __future__ import annotations

import re

import audit

TEXT = (audit.ROOT / "docs/governance.md").read_text("utf-8")
RULES = set(audit.scanned())


def rows(heading: str) -> list[list[str]]:
    """Return the rows of the table below a heading, as cells."""
    section = TEXT.split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def named(text: str) -> set[str]:
    """Return what stands in backticks."""
    return set(re.findall(r"`([^`]+)`", text))


def test_every_statement_is_enforced() -> None:
    """By a rule that the scanner has, or a test that is there."""
    found = rows("### Statements")
    assert len(found) > 25
    for row in found:
        enforced = named(row[-1])
        assert enforced, row
        for name in enforced:
            assert name in RULES or (audit.ROOT / name).is_file(), name


def test_every_file_of_the_documents_lives_somewhere() -> None:
    """Each row of the table of files leads to one that exists."""
    found = rows("### Files")
    assert len(found) > 20
    for row in found:
        places = named(row[-1]) or {"docs/governance.md"}
        assert all((audit.ROOT / name).exists() for name in places), row


def test_every_rule_of_the_scanner_is_in_the_document() -> None:
    """A rule that nobody can look up surprises people."""
    assert {rule for rule in RULES if f"`{rule}`" not in TEXT} == set()


def test_every_departure_has_its_reason() -> None:
    """What, what instead, and why."""
    assert all(len(row) == 3 and all(row) for row in rows("### Departures"))
