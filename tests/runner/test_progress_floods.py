"""Progress that is told too often, or that is no number: no call fails for the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import a_command
from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call

FLOOD = """\
def run(payload, context):
    for number in range(100_000):
        context.progress(number / 100_000, "x" * 100)
    context.progress(1, "the last")
    return {}
"""
# The same in one language that every host has.
FLOOD_OF_A_PROGRAM = """\
open my $out, '>&=', 3;
print $out '{"fraction": 0.5, "message": "' . 'x' x 100 . "\\"}\\n" for 1 .. 100_000;
print $out '{"fraction": 1, "message": "the last"}';
close $out;
print '{}';
"""


@pytest.mark.parametrize("kind", ["context", "descriptor 3"])
def test_a_flood_of_reports_is_thinned_out(
    kind: str, open_folder: Path, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """A hundred thousand of them in a loop: all at first, then some, and the last."""
    if kind == "context":
        plugin = write_plugin(FLOOD)
    else:
        plugin = a_command(open_folder, ["perl", "main.pl"], {"main.pl": FLOOD_OF_A_PROGRAM})
    told: list[tuple[float, str]] = []
    call = Call(on_progress=lambda fraction, message: told.append((fraction, message)))
    name = "sample"
    assert make_runner(plugin).run(name, {}, call=call) == ({}, None)
    assert 10_000 < len(told) < 40_000
    assert told[-1] == (1.0, "the last")


@pytest.mark.parametrize("kind", ["context", "descriptor 3"])
def test_a_percentage_is_told_of_in_the_log(
    kind: str,
    open_folder: Path,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once a call; what rounding adds is none."""
    if kind == "context":
        plugin = write_plugin(
            "def run(payload, context):\n    for share in (1.0000000000000002, 50, 100):\n"
            "        context.progress(share)\n    return {}\n"
        )
    else:
        lines = "".join(f'{{"fraction": {n}}}\n' for n in (1.0000000000000002, 50, 100))
        plugin = a_command(
            open_folder, ["sh", "main.sh"], {"main.sh": f"echo '{lines}' >&3; echo '{{}}'"}
        )
    told: list[float] = []
    call = Call(on_progress=lambda fraction, _message: told.append(fraction))
    assert make_runner(plugin).run("sample", {}, call=call) == ({}, None)
    assert told == [1.0, 1.0, 1.0]
    assert [one.getMessage() for one in caplog.records if "progress" in one.getMessage()] == [
        f"{call.call_id}: progress of 50 was told as 1; give a number from 0 to 1"
    ]


def test_a_fraction_that_is_no_number_is_the_plugins_error(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """With the line of the plugin that gave it."""
    plugin = write_plugin("def run(payload, context): context.progress(float('nan'))")
    result, envelope = make_runner(plugin).run("sample", {})
    assert result is None
    assert envelope is not None
    error = envelope["error"]
    assert (error["type"], error["details"]["exception"]) == ("ExecutionError", "ValueError")
    assert "the fraction of context.progress is nan; give a number from 0 to 1" in error["message"]
    assert ", in run" in str(envelope)
