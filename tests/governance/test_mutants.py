"""Each way to break the source is found by its rule, and what breaks nothing is not found."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.governance import innocents, more_mutants
from tests.governance.edits import Case
from tests.governance.scanning import RULES, found_in


@pytest.mark.parametrize("case", more_mutants.ALL, ids=lambda case: case.name)
def test_a_broken_source_is_found_by_its_rule(case: Case) -> None:
    """By that one, and by no other that has nothing to do with it."""
    found = found_in(case.texts())
    assert {one.rule for one in found} == case.rules, "\n".join(map(str, found))


@pytest.mark.parametrize("case", innocents.ALL, ids=lambda case: case.name)
def test_what_breaks_no_rule_is_not_found(case: Case) -> None:
    """However much it looks like what does."""
    assert [str(one) for one in found_in(case.texts())] == []


def test_every_rule_is_broken_in_four_ways() -> None:
    """And no case stands there twice."""
    ways = Counter(rule for case in more_mutants.ALL for rule in [_own_rule(case)])
    assert set(ways) == set(RULES)
    assert min(ways.values()) >= 4, ways
    names = [case.name for case in (*more_mutants.ALL, *innocents.ALL)]
    assert len(names) == len(set(names))
    assert len({tuple(case.texts().items()) for case in more_mutants.ALL}) == len(more_mutants.ALL)


def _own_rule(case: Case) -> str:
    """Return the rule that a case is named after."""
    return max((rule for rule in RULES if case.name.startswith(f"{rule}-")), key=len)
