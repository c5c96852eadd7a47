"""What ``plugins check`` calls a plugin with, and what it says where there is nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Cli
from tests.conftest import WritePlugin

BROKEN = "def run(payload)\n    return {}\n"
READS = "def run(payload):\n    return {'text': open(payload['files'][0]['path']).read()}\n"


def steps_of(report: dict[str, Any]) -> dict[str, bool]:
    """Return which steps there were, and whether each went well."""
    return {step["name"]: step["ok"] for step in report["steps"]}


def program(folder: Path, text: str, accepts: str = "video/mp4") -> Path:
    """Write a plugin that is a script of a shell."""
    folder.mkdir()
    folder.parent.chmod(0o755)
    (folder / "main.sh").write_text(text)
    (folder / "toolrunner.toml").write_text(
        '[tool.toolrunner]\nname = "script"\ninput = "files"\n'
        f'accepts = ["{accepts}"]\ncommand = ["sh", "main.sh"]\n'
    )
    return folder


@pytest.mark.parametrize("accepts", ["text/csv", "video/mp4"])
@pytest.mark.parametrize("start", ["auto", "cold"])
def test_what_cannot_be_loaded_fails_whatever_it_takes(
    accepts: str, start: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """Also where nobody can make what it takes."""
    keys = {"accepts": f'["{accepts}"]', **({"start": '"cold"'} if start == "cold" else {})}
    path = write_plugin(BROKEN, input="files", **keys)
    ended = cli("plugins", "check", path, "--json")
    [report] = ended.documents
    assert (ended.status, report["ok"]) == (1, False)
    assert steps_of(report)["loads"] is False
    assert "SyntaxError" in report["error"]["message"]


def test_what_loads_is_not_judged_by_input_that_is_none(
    cli: Cli, write_plugin: WritePlugin
) -> None:
    """A note says that it was not tried, and how to."""
    body = "def run(payload):\n    raise ValueError('no video')\n"
    path = write_plugin(body, input="files", accepts='["video/mp4"]')
    ended = cli("plugins", "check", path, "--json")
    [report] = ended.documents
    assert (ended.status, report["error"]) == (0, None)
    assert steps_of(report) == dict.fromkeys(("manifest", "requirements", "sandbox", "loads"), True)
    [note] = report["notes"]
    assert "video/mp4" in note
    assert f"`toolrunner plugins check {path} --sample FILE`" in note
    assert "`toolrunner run sample FILE`" in note


@pytest.mark.parametrize(
    ("text", "status", "step"),
    [
        ("if then; (\n", 1, {"runs": False}),
        ("echo no video >&2; exit 65\n", 0, {"runs": True}),
        ("echo '{}'\n", 0, {"runs": True, "returns": True}),
    ],
)
def test_a_program_is_run_since_nothing_else_tells_whether_it_can(
    text: str, status: int, step: dict[str, bool], cli: Cli, tmp_path: Path
) -> None:
    """One that does not parse fails; one that says that its input is at fault does not."""
    ended = cli("plugins", "check", program(tmp_path / "script", text), "--json")
    [report] = ended.documents
    assert ended.status == status
    assert step.items() <= steps_of(report).items()
    if status:
        assert "exit with 65" in report["steps"][-1]["advice"]


@pytest.mark.parametrize("mime_type", ["text/csv", "text/markdown", "text/x-unheard-of"])
def test_any_text_can_be_made(mime_type: str, cli: Cli, write_plugin: WritePlugin) -> None:
    """A table for CSV, and a line for what has no form."""
    path = write_plugin(READS, input="files", accepts=f'["{mime_type}"]')
    [report] = cli("plugins", "check", path, "--json").documents
    assert report["ok"], report
    [runs] = [step for step in report["steps"] if step["name"] == "runs"]
    assert runs["detail"].startswith(f"on a small file as {mime_type}: ")


def test_input_of_ones_own_is_what_it_is_called_with(
    cli: Cli, write_plugin: WritePlugin, tmp_path: Path, png: Path
) -> None:
    """Several files in one call, an image, or a JSON object."""
    (tmp_path / "a.mp4").write_text("one")
    (tmp_path / "b.mp4").write_text("two")
    body = """
    def run(payload):
        texts = [open(file["path"]).read() for file in payload["files"]]
        assert texts == ["one", "two"]
        return {}
    """
    path = write_plugin(body, input="files", accepts='["video/mp4"]')
    words = ("--sample", "a.mp4", "--sample", "b.mp4", "--json")
    [report] = cli("plugins", "check", path, *words).documents
    assert report["ok"], report
    assert "on the sample a.mp4, b.mp4: " in str(report["steps"])
    size = png.stat().st_size
    body = f"def run(payload):\n    assert len(payload['image']) == {size}\n    return {{}}\n"
    path = write_plugin(body, input="image")
    assert cli("plugins", "check", path, "--sample", png).status == 0
    (tmp_path / "own.json").write_text('{"a": 7}')
    schema = '{ required = ["a"] }'
    path = write_plugin("def run(payload):\n    return {'b': 1 // (payload['a'] - 6)}\n")
    assert cli("plugins", "check", path).status == 1
    assert cli("plugins", "check", path, "--sample", "own.json").status == 0
    path = write_plugin("def run(payload):\n    return {}\n", input_schema=schema)
    (tmp_path / "other.json").write_text('{"b": 7}')
    ended = cli("plugins", "check", path, "--sample", "other.json")
    assert ended.status == 1
    assert "give it a sample that its manifest takes" in ended.out


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (["nowhere.json"], "no such file"),
        (["list.json"], "no JSON object"),
        (["list.json", "list.json"], "give --sample once"),
    ],
)
def test_a_sample_that_is_none_is_the_callers_fault(
    samples: list[str], words: str, cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """And nothing is said of the plugin."""
    (tmp_path / "list.json").write_text("[]")
    path = write_plugin("def run(payload):\n    return {}\n")
    given = [word for sample in samples for word in ("--sample", sample)]
    ended = cli("plugins", "check", path, *given)
    assert (ended.status, ended.out) == (2, "")
    assert words in ended.err


def test_a_sample_beside_a_plugin_is_used_by_itself(
    cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """As ``plugins new`` writes it, if it is of a type that the plugin takes."""
    (tmp_path / "sample_sample.csv").write_text("a,b\n")
    path = write_plugin(READS, input="files", accepts='["text/csv"]')
    [report] = cli("plugins", "check", path, "--json").documents
    assert "on the sample sample_sample.csv: " in str(report["steps"])
    path = write_plugin(READS, input="files", accepts='["text/plain"]')
    [report] = cli("plugins", "check", path, "--json").documents
    assert "on a file with a line of text: " in str(report["steps"])
    folder = program(tmp_path / "script", "grep -q mine input/* && echo '{}'\n", "text/plain")
    assert cli("plugins", "check", folder).status == 1
    (folder / "sample.txt").write_text("mine\n")
    assert cli("plugins", "check", folder).status == 0


def test_an_error_is_told_once(cli: Cli, write_plugin: WritePlugin) -> None:
    """With the line that it came from, and what was printed before."""
    body = "def run(payload):\n    print('so far')\n    raise ValueError('odd one')\n"
    ended = cli("plugins", "check", write_plugin(body))
    assert ended.status == 1
    assert (ended.out + ended.err).count("ValueError: odd one") == 1
    assert "  | sample.py:12 in run\n  |     raise ValueError('odd one')\n" in ended.out
    assert ended.out.endswith("  the last that it printed:\n    | so far\n")


def test_the_start_of_a_program_is_part_of_each_call(cli: Cli, tmp_path: Path) -> None:
    """It is no fork of anything loaded."""
    folder = program(tmp_path / "script", "echo '{}'\n", "text/plain")
    ended = cli("plugins", "check", folder, COLUMNS="1000")
    assert ended.status == 0
    assert "loaded plugin" not in ended.out
    assert "start is part of each call" in ended.out or "calls start cold: each makes" in ended.out
    shown = cli("--plugins", folder, "plugins", "show", "script", COLUMNS="1000").out
    assert "loaded plugin" not in shown
    assert "start is part of each call" in shown or "cold: each call makes a box" in shown
