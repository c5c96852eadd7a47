"""Files from the command line: all of them in one call, or a call for each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.conftest import Cli
from tests.conftest import WritePlugin

READS = """
    def run(payload):
        return {
            "files": [
                [file["name"], file["mime_type"], open(file["path"]).read()]
                for file in payload["files"]
            ],
            "options": payload.get("options"),
        }
"""


@pytest.fixture
def reads(write_plugin: WritePlugin) -> Path:
    """A plugin that takes files."""
    return write_plugin(READS, input="files", limits="{ payload_mb = 1 }")


def test_run_gives_all_files_to_one_call(cli: Cli, reads: Path, tmp_path: Path) -> None:
    """With options beside them."""
    (tmp_path / "one.txt").write_text("one")
    (tmp_path / "two.csv").write_text("two")
    ended = cli(
        "--plugins", reads, "run", "sample", "one.txt", "two.csv", "--option", "top=3", "--json"
    )
    assert ended.status == 0, ended.err
    assert json.loads(ended.out)["result"] == {
        "files": [["one.txt", "text/plain", "one"], ["two.csv", "text/csv", "two"]],
        "options": {"top": 3},
    }


def test_analyze_makes_a_call_for_each(cli: Cli, reads: Path, tmp_path: Path) -> None:
    """In the order of the files."""
    (tmp_path / "one.txt").write_text("one")
    (tmp_path / "two.csv").write_text("two")
    ended = cli("--plugins", reads, "analyze", "sample", "one.txt", "two.csv", "--json")
    assert ended.status == 0, ended.err
    found = [json.loads(line)["result"]["files"] for line in ended.out.splitlines()]
    assert found == [[["one.txt", "text/plain", "one"]], [["two.csv", "text/csv", "two"]]]


def test_what_is_on_no_disk_is_read(cli: Cli, reads: Path) -> None:
    """Such as stdin."""
    ended = cli("--plugins", reads, "run", "sample", "-", "--json", stdin=b"typed")
    assert json.loads(ended.out)["result"]["files"] == [
        ["stdin", "application/octet-stream", "typed"]
    ]


WRONG = {
    "not there": (["run", "sample", "nowhere.txt"], "there is no such file"),
    "a folder": (["run", "sample", "."], "is a folder"),
    "nothing": (["run", "sample"], "toolrunner run sample FILE..."),
    "too large": (["run", "sample", "large"], "the plugin takes 1 MiB"),
    "hidden": (["run", "sample", ".hidden"], 'no "." in front'),
    "one name twice": (["run", "sample", "one.txt", "other/one.txt"], "two files with the name"),
    "for images": (["run", "palette", "one.txt"], "toolrunner analyze palette IMAGE"),
    "for JSON": (["run", "text-stats", "one.txt"], "toolrunner run text-stats --payload"),
    "both": (["run", "sample", "one.txt", "--payload", "{}"], "not both"),
    "options alone": (["run", "sample", "--option", "a=1"], "--option goes with files"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_says_what_to_do(cli: Cli, reads: Path, tmp_path: Path, case: str) -> None:
    """It is the caller's fault."""
    (tmp_path / "other").mkdir()
    for name in ("one.txt", ".hidden", "other/one.txt"):
        (tmp_path / name).write_text("x")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(2 << 20)
    arguments, words = WRONG[case]
    ended = cli("--plugins", reads, *arguments)
    assert ended.status == 2, ended.err
    assert words in " ".join(ended.err.split())
