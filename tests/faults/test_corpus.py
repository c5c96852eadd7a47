"""Every shipped fault: what comes of it, and that nothing of it is left.

No fault goes on for long or touches anything but what was made for it, even if confinement fails.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.conftest import RunFault, Start
from tests.faults.table import ROWS, Row
from toolrunner import PluginRegistry
from toolrunner.api.attack.trial import Answer
from toolrunner.plugins.corpus import GROUPS, faults
from toolrunner.runner.errors import ErrorType

# What a resident keeps between its calls by design: the state and the descriptors of its process.
LASTS = {"escape/mailboxes", "escape/inherited_descriptors"}
FAULTS = {fault.name: fault for fault in faults()}


def check(row: Row, answer: Answer, start: Start) -> None:
    """Assert that an answer is one of those that a row allows."""
    if answer.error is None:
        assert None in row.outcomes(answer.variant, start), answer.result
        assert row.result is None or answer.result == row.result
        return
    kind = ErrorType(answer.error["type"])  # type: ignore[call-arg]  # an enum's look-up by value
    assert kind in row.outcomes(answer.variant, start), (answer.variant, answer.error)
    details: dict[str, Any] = {**answer.error["details"]}
    for key, wanted in row.details.items():
        found = details.get(key)
        # Of a limit the table says which, not how much.
        assert (found["name"] if key == "limit" and found else found) == (
            wanted["name"] if key == "limit" else wanted
        ), answer.error


def test_the_table_has_every_fault_and_no_other() -> None:
    """A fault without a row is never judged; a row without a fault is never run."""
    assert sorted(row.fault for row in ROWS) == sorted(FAULTS)
    assert len(ROWS) >= 120
    assert {fault.group for fault in FAULTS.values()} == set(GROUPS)


def test_a_fault_says_what_it_is() -> None:
    """In one line, for the reader of the corpus."""
    for fault in FAULTS.values():
        assert fault.summary.endswith("."), fault.name
        assert "\n" not in fault.summary, fault.name


def test_variants_of_the_table_exist() -> None:
    """A misspelt variant would be judged by the wrong rule."""
    for row in ROWS:
        assert set(row.variants) <= {name for name, _ in FAULTS[row.fault].payloads}


def test_faults_are_never_discovered_as_plugins() -> None:
    """They are there for those who ask for them."""
    names = PluginRegistry.discover().list_plugins()
    assert [name for name in names if name.partition("-")[0] in GROUPS] == []


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.fault not in LASTS], ids=lambda row: row.fault
)
def test_a_fault_harms_no_later_call_of_a_resident(row: Row, answers_of: RunFault) -> None:
    """A process that a call has failed in serves no other, and all else holds as in other modes."""
    for answer in answers_of(FAULTS[row.fault], "resident"):
        check(row, answer, "resident")


@pytest.mark.parametrize("start", ["auto", "cold"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.fault)
def test_a_fault_harms_nobody(row: Row, start: Start, answers_of: RunFault) -> None:
    """What comes of it is what the table allows, in each of its variants."""
    for answer in answers_of(FAULTS[row.fault], start):
        check(row, answer, start)
