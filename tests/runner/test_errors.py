"""Envelopes: the shape the contract promises, whatever text a plugin or caller put in."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrunner.runner.envelope import Envelope
from toolrunner.runner.errors import (
    MAX_MESSAGE_BYTES,
    MAX_TRACEBACK_BYTES,
    RETRYABLE,
    Blame,
    CancelledBy,
    ErrorType,
    build_error_envelope,
)
from toolrunner.runner.payloads.strict_json import check
from toolrunner.sandbox.ending import Isolation, Usage

BLAMES = {
    Blame.CALLER: {"ValidationError", "PluginNotFound", "Cancelled"},
    Blame.HOST: {"SandboxError", "Overloaded", "InternalError"},
    Blame.PLUGIN: {
        "PluginUnavailable",
        "PluginLoadError",
        "TimeLimitExceeded",
        "CpuLimitExceeded",
        "MemoryLimitExceeded",
        "ProcessLimitExceeded",
        "DiskLimitExceeded",
        "OutputLimitExceeded",
        "PluginCrashed",
        "ProtocolError",
        "ExecutionError",
        "OutputValidationError",
    },
}


def envelope(message: str = "m", **more: Any) -> Envelope:
    """Return an envelope of a crash."""
    given_ = {"plugin": "ocr", "call_id": "c1", **more}
    return build_error_envelope(ErrorType.PLUGIN_CRASHED, message, **given_)


def test_each_type_blames_whom_the_contract_says() -> None:
    """The types are exactly those of the contract, each under its blame."""
    assert {b: {t.value for t in ErrorType if t.blame is b} for b in Blame} == BLAMES
    assert {t.value for t in RETRYABLE} == BLAMES[Blame.HOST]


@pytest.mark.parametrize("error_type", ErrorType)
def test_what_stays_as_it_is_is_not_to_be_tried_again(error_type: ErrorType) -> None:
    """A host's fault may be said to last; no other's is made one to try again."""
    for said, is_it in ((False, False), (True, error_type.blame is Blame.HOST)):
        details = {"retryable": said}
        made = build_error_envelope(error_type, "", plugin=None, call_id="c1", details=details)
        assert made["error"]["details"]["retryable"] is is_it


@pytest.mark.parametrize("error_type", ErrorType)
def test_envelope_has_the_shape_of_the_contract(error_type: ErrorType) -> None:
    """Every key is there for every type, also when nothing ran."""
    made = build_error_envelope(error_type, "message", plugin=None, call_id="c1")
    assert set(made) == {"error", "_internal"}
    assert made["_internal"] == {"traceback": ""}
    error = made["error"]
    assert set(error) == {"type", "message", "details", "plugin", "timestamp"}
    assert (error["type"], error["message"], error["plugin"]) == (error_type, "message", None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", error["timestamp"])
    assert error["details"] == {
        "blame": error_type.blame,
        "retryable": error_type.blame is Blame.HOST,
        "call_id": "c1",
        "usage": {
            "wall_ms": 0,
            "cpu_ms": 0,
            "peak_memory_bytes": 0,
            "processes": 0,
            "output_bytes": 0,
            "log_bytes_dropped": 0,
        },
        "isolation": {"mode": "cold", "layers": [], "missing": []},
    }


@pytest.mark.parametrize(
    ("by", "blame", "is_retryable"),
    [
        (CancelledBy.CALLER, Blame.CALLER, False),
        (CancelledBy.OPERATOR, Blame.HOST, False),
        (CancelledBy.SERVER, Blame.HOST, True),
    ],
)
def test_a_cancelled_call_blames_who_has_cancelled_it(
    by: CancelledBy, blame: Blame, *, is_retryable: bool
) -> None:
    """Only what the server's end has cut short may be tried again as it is."""
    made = build_error_envelope(
        ErrorType.CANCELLED, "m", plugin=None, call_id="c1", details={"cancelled_by": by}
    )["error"]["details"]
    assert (made["blame"], made["retryable"]) == (blame, is_retryable)
    assert made["cancelled_by"] == by


def test_details_are_added_and_cannot_overrule_the_fixed_ones() -> None:
    """What a step reports stands beside blame and usage, never instead of them."""
    details = {"signal": "SIGSEGV", "blame": "caller", "usage": None}
    usage, isolation = Usage(wall_ms=7), Isolation("warm", ("landlock:7",), ("cgroup",))
    made = envelope(details=details, usage=usage, isolation=isolation)["error"]["details"]
    assert made["signal"] == "SIGSEGV"
    assert made["blame"] == "plugin"
    assert made["usage"]["wall_ms"] == 7
    assert made["isolation"] == {"mode": "warm", "layers": ["landlock:7"], "missing": ["cgroup"]}


@pytest.mark.parametrize("character", ["a", "é", "€", "😀", "\x1b", "\ud800"])
def test_long_message_is_cut_at_a_character_with_a_mark(character: str) -> None:
    """A message stays within its bytes, keeps its start and says that it was cut."""
    message = envelope(character * 10_000)["error"]["message"]
    assert len(message.encode()) <= MAX_MESSAGE_BYTES
    assert len(message.encode()) > MAX_MESSAGE_BYTES - 12
    assert message.endswith("… [cut]")


def test_message_that_just_fits_is_whole() -> None:
    """Nothing is cut at exactly the limit."""
    assert envelope("é" * 2048)["error"]["message"] == "é" * 2048


@pytest.mark.parametrize("character", ["a", "é", "😀"])
def test_long_traceback_keeps_its_end(character: str) -> None:
    """The end of a traceback names the exception, so that is what stays."""
    made = envelope(traceback=character * 200_000 + "ValueError: x")["_internal"]["traceback"]
    assert len(made.encode()) <= MAX_TRACEBACK_BYTES
    assert made.endswith("ValueError: x")
    assert made.startswith("… [cut]\n")


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\x00b\x7f\x85", r"a\x00b\x7f\x85"),
        ("\udcff", r"\udcff"),
        ("\u202egnp.exe\u2028", r"\u202egnp.exe\u2028"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("carriage\rreturn", r"carriage\rreturn"),
    ],
)
def test_control_characters_are_spelled_out_everywhere(text: str, harmless: str) -> None:
    """Nothing that a terminal acts on survives in a message, a detail, a name or a traceback."""
    made = envelope(text, plugin=text, traceback=text, details={"log_tail": text, "list": [text]})
    error = made["error"]
    assert error["message"] == error["plugin"] == made["_internal"]["traceback"] == harmless
    assert error["details"]["log_tail"] == harmless
    assert {**error["details"]}["list"] == [harmless]


@given(
    st.text(st.characters(codec=None), max_size=50),
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.floats() | st.integers() | st.text(st.characters(codec=None)),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
        max_size=3,
    ),
)
def test_any_envelope_is_strict_json(text: str, details: dict[str, object]) -> None:
    """Whatever is put in, what comes out can be written as strict JSON."""
    made = envelope(text, plugin=text, details=details, traceback=text)
    check(made)
    assert json.dumps(made, allow_nan=False).encode()
