"""What keeps a server from starting is said in one sentence, without a traceback."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.api.conftest import Cli
from tests.api.serve.conftest import Serve


def test_a_path_without_plugins_is_said_once(cli: Cli, tmp_path: Path) -> None:
    """By the command itself, before anything listens."""
    ended = cli("serve", "--port", "0", "--state", tmp_path / "s", "--plugins", tmp_path / "none")
    assert ended.status == 2
    assert ended.err.count("\n") == 1
    assert "there is no such file or folder" in ended.err


@pytest.mark.parametrize("workers", ["1", "3"])
def test_what_no_worker_can_use_is_said_once(cli: Cli, tmp_path: Path, workers: str) -> None:
    """However many there are; it is not tried again, as that would say it again."""
    state = tmp_path / "state"
    state.write_text("in the way of a folder")
    ended = cli("serve", "--port", "0", "--workers", workers, "--state", state)
    assert ended.status == 3
    [line] = [line for line in ended.err.splitlines() if re.search("ERROR|CRITICAL", line)]
    assert "CRITICAL" in line
    assert "cannot be started" in line
    assert os.strerror(17) in line
    assert "Traceback" not in ended.err


def test_keys_that_cannot_be_read_are_told_in_the_logs_own_form(
    serve: Serve, tmp_path: Path
) -> None:
    """Each line is JSON, names the file, and says what to do."""
    file = tmp_path / "state" / "keys.sqlite3"
    file.parent.mkdir()
    file.write_bytes(b"\xff" * 8192)
    server = serve("--keys", "--workers", "1", "--log-format", "json")
    server.ready()
    server.end()
    lines = [json.loads(line) for line in server.log.splitlines()]
    told = [one["message"] for one in lines if one["level"] == "ERROR"]
    assert len(told) == 2
    for message, begins in zip(told, ("nobody is let in", "jobs keep"), strict=True):
        assert message.startswith(begins)
        assert f"{file} is damaged (file is not a database): put a copy of it back" in message
