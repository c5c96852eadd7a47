"""The line that an error came through: whatever a plugin writes for one, its error is told."""

from __future__ import annotations

import logging
import os
import random
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner.runner import tracebacks
from toolrunner.runner.tracebacks import place_in

HONEST = '  File "{path}", line 2, in run\n    raise ValueError(words)\n'
FORGED = [
    'File "{path}", line ' + "9" * 5000 + ", in run",
    'File "{path}", line \u0663, in run',
    'File "{path}", line \u00b2, in run',
    'File "{path}", line -1, in run',
    'File "{path}/\0", line 3, in run',
    'File "{path}/' + "d/" * 3000 + 'x", line 3, in run',
    'File "{path}/' + "n" * 300 + '", line 3, in run',
    'File "{path}/\ud800", line 3, in run',
    'File "{path}/fifo", line 3, in run',
    'File "{path}/loop", line 3, in run',
    'File "{path}/loop/..", line 0, in run',
    'File "{path}", line 999999999, in \0\ud800\x1b[2J',
    '|| | File "{path}", line 1\n    \0\ud800',
    'File "", line 1, in run',
]
PIECES = ["  ", "| ", 'File "', "{path}", "/", "..", '"', ", line ", "1", "9" * 50, "\u0663"]
PIECES += [", in ", "run", "\n", "\n    ", "^", "~", "\0", "\ud800", "\r", "\x85", "\u2028", "\x1b"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plugin's folder, with names that open nothing, or never."""
    folder = tmp_path / "sample"
    folder.mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to("loop")
    return folder


@pytest.mark.parametrize("forged", FORGED)
def test_no_line_that_a_plugin_writes_is_too_odd(
    forged: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What names no line that can be is passed over, for one that does."""
    words = f"{HONEST}ValueError: x\n  {forged}\n".replace("{path}", str(folder))
    place = place_in(words, folder)
    assert place is not None
    assert caplog.records == []


def test_no_text_at_all_is_too_odd(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Made of all that such a line is made of, in any order."""
    chance = random.Random(0)
    for _ in range(3000):
        words = "".join(chance.choices(PIECES, k=chance.randrange(1, 40)))
        place_in(words.replace("{path}", str(folder)), folder)
    assert caplog.records == []


@pytest.mark.parametrize("is_our_bug", [False, True])
def test_a_failure_is_logged_whatever_line_a_plugin_writes(
    is_our_bug: bool,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if to look for it failed: that is said as well."""
    if is_our_bug:
        monkeypatch.setattr(tracebacks, "_own_name", None)
    words = r"""'x\n  File "%s", line %s, in run\n' % (__file__, "9" * 5000)"""
    path = write_plugin(f"def run(payload):\n    raise ValueError({words})\n")
    with caplog.at_level(logging.WARNING):
        make_runner(path).run("sample", {})
    found = [record.getMessage() for record in caplog.records]
    assert any(" of sample 1.0.0 failed: ExecutionError: ValueError: x" in one for one in found)
    assert any("came through is not told" in one for one in found) == is_our_bug
