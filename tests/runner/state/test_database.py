"""The files of a state folder, opened by several processes at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolrunner.runner.state.database import open_database

SCHEMA = "CREATE TABLE IF NOT EXISTS things (name TEXT);"
PROCESSES = 8


def test_many_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    """As workers do when a server starts for the first time: none of them fails."""
    for round_number in range(20):
        path = tmp_path / f"{round_number}.sqlite3"
        reader, writer = os.pipe()
        children = []
        for _ in range(PROCESSES):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    os.close(writer)
                    os.read(reader, 1)  # all begin when the last one is there
                    open_database(path, SCHEMA, version=1, synchronous="NORMAL", busy_seconds=20)
                    status = 0
                finally:
                    os._exit(status)
            children.append(child)
        os.close(reader)
        os.close(writer)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * PROCESSES


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    """With what to do about it."""
    path = tmp_path / "x.sqlite3"
    open_database(path, SCHEMA, version=1, synchronous="FULL", busy_seconds=1).close()
    with pytest.raises(OSError, match="move it away"):
        open_database(path, SCHEMA, version=2, synchronous="FULL", busy_seconds=1)
