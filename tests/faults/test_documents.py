"""docs/security.md names what tries each of its claims, and forgets no fault."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

from toolrunner.plugins.corpus import GROUPS, faults

ROOT = Path(__file__).parents[2]
TABLE = [
    line.split("|")[4]
    for line in (ROOT / "docs/security.md").read_text("utf-8").splitlines()
    if line.count("|") == 5 and not line.startswith("|--")
]
NAMED = [name for cell in TABLE[1:] for name in re.findall(r"`([^`]+)`", cell)]


def test_every_claim_names_what_tries_it() -> None:
    """Attacks of the corpus, by name or pattern, or test files."""
    names = [fault.name for fault in faults()]
    assert len(TABLE) > 30
    assert all("`" in cell for cell in TABLE[1:])
    for name in NAMED:
        if name.partition("/")[0] in GROUPS:
            assert any(fnmatchcase(known, name) for known in names), name
        else:
            assert (ROOT / name).is_file(), name


def test_every_fault_tries_a_claim() -> None:
    """A new fault is a new attack, or one more way for a known one."""
    for fault in faults():
        assert any(fnmatchcase(fault.name, name) for name in NAMED), fault.name
