"""A file of the state folder that stays open: which one is in use after it was moved away."""

from __future__ import annotations

from pathlib import Path
from sqlite3 import Connection

import pytest

from toolrunner.runner.state.database import open_database
from toolrunner.runner.state.reopened import Reopened

SCHEMA = "CREATE TABLE IF NOT EXISTS things (name TEXT);"


def opened(path: Path) -> Connection:
    """Open a file as a state folder's are."""
    return open_database(path, SCHEMA, version=1, synchronous="NORMAL", busy_seconds=20)


@pytest.mark.parametrize("is_early", [True, False])
def test_a_file_that_went_is_made_anew(is_early: bool, tmp_path: Path) -> None:
    """And its holder is told, also of one that went when it had only now been opened."""
    path = tmp_path / "things.sqlite3"
    makes: list[None] = []
    told: list[None] = []

    def make() -> Connection:
        makes.append(None)
        database = opened(path)
        if is_early and len(makes) == 1:
            path.unlink()
        return database

    file = Reopened(path, make, lambda: told.append(None))
    first = file.get()
    if not is_early:
        assert file.get() is first
        path.unlink()
    second = file.get()
    assert second is not first
    assert file.get() is second
    assert (len(makes), len(told)) == (2, 1)
    assert path.exists()
    file.close()
    assert file.is_closed
