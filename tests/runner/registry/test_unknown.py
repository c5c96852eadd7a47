"""What is done about a plugin that nobody knows: nothing, and the log says so once."""

from __future__ import annotations

import logging

import pytest

from toolrunner.runner.registry.registry import PluginRegistry


def told(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """Return what was logged at a level."""
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_an_unknown_name_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """However often it is called, and whatever else is to be recorded of it."""
    caplog.set_level(logging.DEBUG, "toolrunner.registry")
    registry = PluginRegistry()
    for _ in range(5):
        registry.mark_running("nobody")
        registry.update_execution_metrics("nobody", "FAILED", 1, had_error=True)
    [record] = told(caplog, logging.INFO)
    assert record == "there is no plugin 'nobody', which a call has named: no plugin counts it"
    assert len(told(caplog, logging.DEBUG)) == 9
    registry.mark_running("another")
    assert len(told(caplog, logging.INFO)) == 2


def test_names_that_are_made_up_do_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Any caller can make up a new one for each call: after a hundred no more are told of."""
    caplog.set_level(logging.INFO, "toolrunner.registry")
    registry = PluginRegistry()
    for number in range(1000):
        registry.update_execution_metrics(f"{number}" + "x" * 10_000, "FAILED", 1, had_error=True)
    records = told(caplog, logging.INFO)
    assert len(records) == 101
    assert "no more are told of" in records[-1]
    assert max(map(len, records)) < 300
