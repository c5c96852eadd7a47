"""Files from the command line: all of them in one call, or a call for each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.api.conftest import Cli
from tests.conftest import WritePlugin
from toolrunner.api.cli.payloads import files_payload

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


def test_folders_and_patterns_stand_for_their_files(cli: Cli, reads: Path, tmp_path: Path) -> None:
    """Files of one name get numbers, since a plugin knows them by their names."""
    for name in ("a/x.txt", "a/x-2.txt", "b/x.txt", "c/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    ended = cli("--plugins", reads, "run", "sample", "a", "[b]/*.txt", "c/x.txt", "--json")
    assert ended.status == 0, ended.err
    found = [(name, text) for name, _, text in json.loads(ended.out)["result"]["files"]]
    assert found == [
        ("x-2.txt", "a/x-2.txt"),
        ("x.txt", "a/x.txt"),
        ("x-3.txt", "b/x.txt"),
        ("x-4.txt", "c/x.txt"),
    ]


def test_more_files_than_a_call_takes(cli: Cli, reads: Path, tmp_path: Path) -> None:
    """They are counted before any of them is read."""
    for number in range(257):
        (tmp_path / f"{number}.txt").touch()
    ended = cli("--plugins", reads, "run", "sample", "*.txt")
    assert ended.status == 2
    assert "more than 256 files, the most that one call takes; toolrunner analyze" in ended.err


def test_analyze_makes_a_call_for_each(cli: Cli, reads: Path, tmp_path: Path) -> None:
    """In the order of the files."""
    (tmp_path / "one.txt").write_text("one")
    (tmp_path / "two.csv").write_text("two")
    ended = cli("--plugins", reads, "analyze", "sample", "one.txt", "two.csv", "--json")
    assert ended.status == 0, ended.err
    found = [json.loads(line)["result"]["files"] for line in ended.out.splitlines()]
    assert found == [[["one.txt", "text/plain", "one"]], [["two.csv", "text/csv", "two"]]]


def test_what_is_on_no_disk_is_read(cli: Cli, reads: Path) -> None:
    """Such as stdin, whose type its caller knows."""
    words = ["--plugins", reads, "run", "sample", "-", "--mime-type", "text/csv", "--json"]
    assert json.loads(cli(*words, stdin=b"a").out)["result"]["files"] == [
        ["stdin", "text/csv", "a"]
    ]
    ended = cli("--plugins", reads, "run", "sample", "-", "--json", stdin=b"typed")
    assert json.loads(ended.out)["result"]["files"] == [
        ["stdin", "application/octet-stream", "typed"]
    ]


def test_a_pipe_of_a_name_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes to it may do so for its first reader alone, as a shell's ``<(…)``."""
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    opened: list[str] = []
    whole_open = Path.open

    def counted(path: Path, *args: Any, **options: Any) -> Any:
        opened.append(path.name)
        if opened.count(pipe.name) > 1:  # it would be waited for, for ever
            pytest.fail("the pipe is opened again")
        return whole_open(path, *args, **options)

    def write() -> None:
        with whole_open(pipe, "wb") as file:
            file.write(b"written once")

    monkeypatch.setattr(Path, "open", counted)
    writer = Thread(target=write, daemon=True)
    writer.start()
    given = files_payload([str(pipe)], mime_type=None, options={}, max_bytes=1000)
    writer.join()
    assert given == {"files": [{"name": "pipe.txt", "data": b"written once"}]}


WRONG = {
    "not there": (["run", "sample", "nowhere.txt"], "there is no such file"),
    "a folder without any": (["run", "sample", "empty"], "there is no file in empty"),
    "a pattern": (["run", "sample", "*.pdf"], "no file has a name like that"),
    "nothing": (["run", "sample"], "toolrunner run sample FILE..."),
    "too large": (["run", "sample", "large"], "the plugin takes 1 MiB"),
    "hidden": (["run", "sample", ".hidden"], 'no "." in front'),
    "for images": (["run", "palette", "one.txt"], "toolrunner analyze palette IMAGE"),
    "for JSON": (["run", "text-stats", "one.txt"], "toolrunner run text-stats --payload"),
    "both": (["run", "sample", "one.txt", "--payload", "{}"], "not both"),
    "type alone": (["run", "sample", "--mime-type", "text/csv"], "--mime-type goes with files"),
    "options alone": (["run", "sample", "--option", "a=1"], "--option goes with files"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_says_what_to_do(cli: Cli, reads: Path, tmp_path: Path, case: str) -> None:
    """It is the caller's fault."""
    (tmp_path / "empty").mkdir()
    for name in ("one.txt", ".hidden"):
        (tmp_path / name).write_text("x")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(2 << 20)
    arguments, words = WRONG[case]
    ended = cli("--plugins", reads, *arguments)
    assert ended.status == 2, ended.err
    assert words in " ".join(ended.err.split())
