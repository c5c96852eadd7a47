"""What a log record looks like, in both formats, after its way between processes."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from toolrunner.api.serve.logs import JsonFormatter, TextFormatter


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
    sent = record("no\x1b[2J\nINFO forged", request_id="r1", call_id="c1", plugin="p")
    formatter.format(sent)
    sent.exc_info = None
    line = formatter.format(sent)
    assert "ValueError: invalid literal" in line
    assert "\x1b" not in line
    assert "\nINFO" not in line
    assert "r1" in line
    assert "c1" in line


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
