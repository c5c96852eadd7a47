"""What keeps a worker or a migration from starting is said in one sentence, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.conftest import Cli


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        ([], {"TOOLRUNNER_JOB_THREADS": "0"}, "say with --jobs N how many jobs each process runs"),
        (["--plugin", "palete"], {}, "--plugin palete: there is no plugin 'palete'; did you mean"),
        (["--health", "8001"], {}, "--health 8001: give HOST:PORT, such as 127.0.0.1:8001 or"),
        (["--health", ":8001"], {}, "--health :8001: give HOST:PORT"),
        (["--health", "127.0.0.1:70000"], {}, "give HOST:PORT"),
        (["--health", "[::1:80"], {}, "give HOST:PORT"),
        (["--health", "no.such.invalid:80"], {}, ", such as 127.0.0.1, as HOST:PORT"),
        (["--jobs", "0"], {}, "--jobs"),
    ],
)
def test_what_it_cannot_do_is_refused(
    cli: Cli, tmp_path: Path, arguments: list[str], variables: dict[str, str], words: str
) -> None:
    """By the command itself, before anything is forked."""
    ended = cli("worker", "--state", tmp_path / "state", *arguments, **variables)
    assert ended.status == 2
    assert words in ended.err


def test_keys_of_no_folder_are_not_taken_along(cli: Cli, tmp_path: Path) -> None:
    """A name that was mistyped would leave the cluster without them; no database is asked."""
    settings = {"TOOLRUNNER_JOBS": "postgresql://[::1]:1/x", "TOOLRUNNER_BLOBS": "s3://bucket/x"}
    ended = cli("--state", tmp_path / "sate", "migrate", "--keys", **settings)
    assert ended.status == 2
    assert "--keys: there is no folder" in ended.err
    assert "with --state" in " ".join(ended.err.split())
    assert not (tmp_path / "sate").exists()


def test_an_address_that_is_taken_is_told_with_the_option(cli: Cli, tmp_path: Path) -> None:
    """That has named it."""
    ended = cli("worker", "--state", tmp_path / "state", "--health", "203.0.113.1:8001")
    assert ended.status == 3
    assert "give an address of this host with --health" in ended.err
