"""What a log record looks like, in both formats, after its way between processes."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator

import pytest

from toolrunner.api.serve import logs
from toolrunner.api.serve.logs import DescriptorHandler, JsonFormatter, TextFormatter


def record(message: str, **extra: str) -> logging.LogRecord:
    """Return a record with a traceback."""
    try:
        int("deep \x1b[31m down")
    except ValueError:
        made = logging.makeLogRecord(
            {"name": "toolrunner.x", "levelname": "ERROR", "msg": message, **extra}
        )
        made.exc_info = sys.exc_info()
    return made


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_traceback_survives_the_way_and_is_harmless(formatter: logging.Formatter) -> None:
    """Only text crosses between processes; terminals act on none of it."""
    forged = "p\nINFO forged"
    sent = record("no\x1b[2J\nINFO forged", request_id="r1", call_id="c1", plugin=forged)
    formatter.format(sent)
    sent.exc_info = None
    line = formatter.format(sent)
    assert "ValueError: invalid literal" in line
    assert "\x1b" not in line
    assert "\nINFO" not in line
    assert "r1" in line
    assert "c1" in line


def test_no_id_is_in_a_line_for_people_twice() -> None:
    """A call that a request waits for has the request's id, and its message may name it."""
    about = {"levelname": "INFO", "name": "n", "request_id": "r1", "call_id": "r1", "plugin": "p"}
    named = logging.makeLogRecord({**about, "msg": "call r1 of p failed"})
    assert TextFormatter().format(named).endswith("INFO n [p] call r1 of p failed")
    other = logging.makeLogRecord({**about, "msg": "printed"})
    assert TextFormatter().format(other).endswith("INFO n [r1 p] printed")
    apart = logging.makeLogRecord({**about, "call_id": "c1", "msg": "printed"})
    assert TextFormatter().format(apart).endswith("INFO n [r1 c1 p] printed")


def test_a_json_record_is_one_line_with_all_its_names() -> None:
    """Whoever collects the log needs no other parser."""
    line = JsonFormatter().format(
        record("a\nb", request_id="r", traceparent="t", call_id="c", plugin="p")
    )
    document = json.loads(line)
    assert "\n" not in line
    assert document.keys() == {
        *("time", "level", "logger", "message", "pid", "traceback"),
        *("request_id", "traceparent", "call_id", "plugin"),
    }


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe, of which a read at the end of what there is raises."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def taken(reader: int) -> bytes:
    """Return all that there is to read."""
    found = b""
    while True:
        try:
            found += os.read(reader, 1 << 16)
        except BlockingIOError:
            return found


def test_a_reader_that_stands_still_holds_up_nobody(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it does not take is lost and counted; what was begun is written to its end."""
    monkeypatch.setattr(logs, "PATIENCE_MS", 1)
    reader, writer = pipe
    handler = DescriptorHandler(writer)
    sent = [f"{number} {'x' * 10_000}" for number in range(30)]
    for line in sent:
        handler.handle(logging.makeLogRecord({"msg": line}))
    lines: list[str] = []
    for number in range(5):
        lines += taken(reader).decode().splitlines(keepends=True)
        handler.handle(logging.makeLogRecord({"msg": f"later {number}"}))
    lines += taken(reader).decode().splitlines(keepends=True)
    whole = "".join(lines).splitlines()
    [lost] = [line for line in whole if "were lost here" in line]
    begun = [line for line in whole if line in sent]
    assert begun == sent[: len(begun)]
    assert int(lost.split()[0]) == len(sent) - len(begun)
    assert whole[len(begun) :] == [lost, *(f"later {number}" for number in range(5))]
