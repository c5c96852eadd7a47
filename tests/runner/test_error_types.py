"""Every type of error, brought about for real: whom it blames, and what its envelope tells."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.runner.error_cases import CASES, Case, E, World
from toolrunner.runner.errors import RETRYABLE, ErrorType
from toolrunner.sandbox.ending import Usage
from toolrunner.sandbox.layers import Layers

ALWAYS = {"blame", "retryable", "call_id", "usage", "isolation"}


def holds(found: Any, expected: Any) -> bool:
    """Tell whether a value has what is expected of it; ``None`` expects anything."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            holds(found[key], value) for key, value in expected.items()
        )
    return expected is None or found == expected


def test_the_table_has_every_type() -> None:
    """A type that nobody can produce is not tested, or should not exist."""
    assert {case.error_type for case in CASES} == set(ErrorType)
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_error_is_what_it_should_be(
    case: Case, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Type, blame, message and details; and the record says the same."""
    tool_runner, (result, envelope) = case.produce(World(write_plugin, make_runner, layers))
    assert result is None
    assert envelope is not None
    error = envelope["error"]
    assert error["type"] == case.error_type, error
    assert case.words in error["message"]
    details = error["details"]
    assert details["blame"] == case.error_type.blame
    assert details["retryable"] == (case.error_type in RETRYABLE)
    assert len(details["call_id"]) == 32
    assert details["usage"].keys() == set(Usage.__dataclass_fields__)
    assert any(details["usage"].values()) == case.ran
    assert details["isolation"].keys() == {"mode", "layers", "missing"}
    if case.ran:
        assert details["isolation"]["layers"] == list(layers.names())
    rest = {key: value for key, value in details.items() if key not in {*ALWAYS, "log_tail"}}
    if case.error_type is E.DISK_LIMIT_EXCEEDED:  # seen by the plugin first, or by the watchdog
        rest = {"limit": rest["limit"]}
    if case.error_type is not E.PROTOCOL_ERROR:  # how it ended then is a matter of chance
        assert holds(rest, case.details), rest
    status = tool_runner.registry.get_status("sample")
    assert status is not None
    assert status.in_flight == 0
    if case.error_type is E.PLUGIN_NOT_FOUND:
        assert (status.success_count, status.error_count) == (0, 0)
        return
    assert status.success_count == 0
    assert status.error_count == (2 if case.error_type is E.OVERLOADED else 1)
    if case.error_type is E.PLUGIN_UNAVAILABLE and case.name == "missing dependency":
        assert status.state == "UNAVAILABLE"
    elif case.error_type.blame == "plugin":
        assert status.state == "FAILED"
    else:
        assert status.state == "LOADED"
