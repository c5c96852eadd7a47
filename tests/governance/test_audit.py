"""The audit report: current, and made of what is really there."""

from __future__ import annotations

import audit
import pytest

HEADINGS = (
    "Scope",
    "Execution Path",
    "Validation",
    "Error Handling",
    "Registry & Metrics",
    "Service Layer",
    "API Layer",
    "Phase 11 Compatibility",
    "Conclusion",
)


def test_the_committed_report_is_current() -> None:
    """Write it anew by `scripts/audit.py`."""
    assert audit.differences() == []


def test_the_report_has_its_headings() -> None:
    """In the order of the document that asked for it."""
    text = audit.REPORT.read_text("utf-8")
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(HEADINGS)


def test_a_layer_that_does_not_delegate_is_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says what is so, or is not written."""
    wrong = (*audit.PATH[0][:2], "something_else")
    monkeypatch.setattr(audit, "PATH", (wrong,))
    with pytest.raises(audit.AuditError, match="does not call something_else"):
        audit.execution_path()


def test_a_check_that_lets_all_pass_is_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation is tried, not looked up."""
    monkeypatch.setattr(audit, "validate_input_payload", lambda _payload: None)
    with pytest.raises(audit.AuditError, match="takes"):
        audit.validation()


def test_a_suite_that_fails_is_no_report(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said of a suite that has not passed."""
    with pytest.raises(audit.AuditError, match="failed"):
        audit.pass_suite("tests/there_is_no_such_suite")
    assert "running tests/there_is_no_such_suite" in capsys.readouterr().err
