"""Each way past the rules is found by its rule, and what breaks none is not found."""

from __future__ import annotations

import pytest

from tests.governance import behaviours, innocents, violations
from tests.governance.edits import Case
from tests.governance.scanning import RULES, found_in


@pytest.mark.parametrize("case", violations.ALL, ids=lambda case: case.name)
def test_a_violation_is_found_by_its_rule(case: Case) -> None:
    """Whatever else is found beside it."""
    found = found_in(case.texts())
    assert case.rules <= {one.rule for one in found}, "\n".join(map(str, found))


@pytest.mark.parametrize("case", innocents.ALL, ids=lambda case: case.name)
def test_an_innocent_edit_is_not_found(case: Case) -> None:
    """However much it looks like a violation."""
    assert [str(one) for one in found_in(case.texts())] == []


@pytest.mark.parametrize("case", behaviours.ALL, ids=lambda case: case.name)
def test_a_change_of_behaviour_still_applies(case: Case) -> None:
    """It is there to be run against phase 11 and 12, by ``scripts/mutate.py``."""
    for path, text in case.texts().items():
        assert text is not None
        compile(text, path, "exec")


def test_every_rule_is_broken_in_three_ways() -> None:
    """And no case stands there twice."""
    ways = [rule for case in violations.ALL for rule in case.rules]
    assert set(ways) == set(RULES)
    assert min(ways.count(rule) for rule in RULES) >= 3
    cases = (*violations.ALL, *innocents.ALL, *behaviours.ALL)
    names = [case.name for case in cases]
    assert len(names) == len(set(names))
