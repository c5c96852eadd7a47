"""What ``--json`` prints, in what order, and what goes where."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.conftest import Cli
from tests.conftest import WritePlugin

MARKED = """
def run(payload):
    return {"bytes": len(payload["image"]), "options": payload.get("options")}
"""


def test_a_result_has_its_plugin_usage_isolation_and_file(cli: Cli, png: Path) -> None:
    """The document of a call that succeeded has exactly these parts."""
    ended = cli("analyze", "palette", png, "--json")
    [document] = ended.documents
    assert ended.status == 0
    assert sorted(document) == ["file", "isolation", "plugin", "result", "usage"]
    assert sorted(document["isolation"]) == ["layers", "missing", "mode"]
    assert document["usage"]["peak_memory_bytes"] > 0
    assert document["plugin"] == "palette"


def test_a_result_of_run_has_no_file(cli: Cli) -> None:
    """``run`` has no files to name."""
    [document] = cli("run", "text-stats", "--payload", '{"text": "a b"}', "--json").documents
    assert sorted(document) == ["isolation", "plugin", "result", "usage"]


@pytest.mark.parametrize("debug", [False, True])
def test_the_traceback_is_for_those_who_debug(
    cli: Cli, write_plugin: WritePlugin, *, debug: bool
) -> None:
    """An error's document has ``_internal`` with --debug only."""
    path = write_plugin("def run(payload):\n    raise KeyError('gone')\n")
    flags = ["--debug"] if debug else []
    ended = cli("--plugins", path, "run", "sample", "--json", *flags)
    [document] = ended.documents
    assert ended.status == 1
    assert sorted(document) == (["_internal", "error"] if debug else ["error"])
    assert document["error"]["type"] == "ExecutionError"
    if debug:
        assert "KeyError" in document["_internal"]["traceback"]


def test_results_come_in_the_order_of_the_files(
    cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """However the calls end, the documents stand in the order of the arguments."""
    plugin = write_plugin(MARKED, input="image", accepts='["application/octet-stream"]')
    names = [f"file-{number}" for number in range(9)]
    for number, name in enumerate(names, 1):
        (tmp_path / name).write_bytes(b"x" * number)
    ended = cli("--plugins", plugin, "analyze", "sample", *names, "--json", "--jobs", "3")
    assert ended.status == 0
    assert [document["file"] for document in ended.documents] == names
    assert [document["result"]["bytes"] for document in ended.documents] == list(range(1, 10))


def test_the_worst_outcome_is_the_exit_status(
    cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """The caller's fault in one file outweighs the plugin's in another; the rest still answer."""
    body = 'def run(payload):\n    return {"x": 1 / (len(payload["image"]) - 1)}\n'
    plugin = write_plugin(body, input="image", accepts='["application/octet-stream"]')
    (tmp_path / "one").write_bytes(b"x")
    (tmp_path / "two").write_bytes(b"xx")
    assert cli("--plugins", plugin, "analyze", "sample", "two", "one").status == 1
    assert cli("--plugins", plugin, "analyze", "sample", "one", "nowhere", "two").status == 2


def test_options_are_json_or_else_text(cli: Cli, write_plugin: WritePlugin, png: Path) -> None:
    """``KEY=VALUE`` becomes what JSON makes of the value, or the text itself."""
    plugin = write_plugin(MARKED, input="image")
    given = ["count=3", "name=plain words", 'deep={"a": [1]}', "flag=true", "odd=NaN", "url=a=b"]
    options = [part for option in given for part in ("--option", option)]
    [document] = cli("--plugins", plugin, "analyze", "sample", png, "--json", *options).documents
    assert document["result"]["options"] == {
        "count": 3,
        "name": "plain words",
        "deep": {"a": [1]},
        "flag": True,
        "odd": "NaN",
        "url": "a=b",
    }


def test_stdin_is_an_image_once(cli: Cli, png: Path) -> None:
    """``-`` reads an image from stdin; a second one is refused."""
    ended = cli("analyze", "palette", "-", "-", "--json", stdin=png.read_bytes())
    answered, refused = ended.documents
    assert answered["result"]["colours"]
    assert "once" in refused["error"]["message"]
    assert (answered["file"], refused["file"]) == ("-", "-")


@pytest.mark.parametrize("before", [True, False])
def test_shared_options_stand_before_or_after_the_command(
    cli: Cli, write_plugin: WritePlugin, *, before: bool
) -> None:
    """--plugins and --json mean the same on both sides of the command's name."""
    path = write_plugin("def run(payload):\n    return {}\n")
    shared, rest = ["--json", "--plugins", str(path)], ["run", "sample"]
    ended = cli(*shared, *rest) if before else cli(*rest, *shared)
    assert ended.documents[0]["result"] == {}


def test_plugins_of_both_sides_and_the_environment_are_joined(
    cli: Cli, write_plugin: WritePlugin
) -> None:
    """Each --plugins adds to the others and to TOOLRUNNER_PLUGINS."""
    paths = [write_plugin("def run(payload):\n    return {}\n", name=name) for name in "abc"]
    ended = cli(
        "--plugins", paths[0], "plugins", "list", "--plugins", paths[1], "--json",
        TOOLRUNNER_PLUGINS=str(paths[2]),
    )  # fmt: skip
    [listed] = ended.documents
    assert {"a", "b", "c", "palette"} <= {status["name"] for status in listed}


def test_what_a_plugin_prints_stays_out_of_stdout(cli: Cli, write_plugin: WritePlugin) -> None:
    """A plugin's prints are captured and shown on stderr; with -v, beside its log."""
    body = """
    import logging
    def run(payload):
        print("printed words")
        logging.getLogger("own").info("logged words")
        return {"fine": True}
    """
    path = write_plugin(body)
    quiet = cli("--plugins", path, "run", "sample")
    verbose = cli("-v", "--plugins", path, "run", "sample")
    assert "printed words" in quiet.err
    assert "logged words" not in quiet.err
    assert "printed words" in verbose.err
    assert "logged words" in verbose.err
    assert "words" not in quiet.out + verbose.out
    assert cli("--plugins", path, "run", "sample", "--json").err == ""


def test_an_error_tells_people_what_whose_and_how_much(cli: Cli, write_plugin: WritePlugin) -> None:
    """The view for people has type, blame, the limit's figures and the last output."""
    body = "def run(payload):\n    print('so far so good', flush=True)\n    while True: pass\n"
    path = write_plugin(body, limits="{ wall_seconds = 0.5 }")
    ended = cli("--plugins", path, "run", "sample")
    assert (ended.status, ended.out) == (1, "")
    for words in ("TimeLimitExceeded", "the plugin", "wall_seconds: at most 0.5", "so far so good"):
        assert words in ended.err


def test_debug_shows_the_plugins_traceback_to_people(cli: Cli, write_plugin: WritePlugin) -> None:
    """With --debug the view has the traceback of the plugin."""
    path = write_plugin("def run(payload):\n    raise ValueError('odd')\n")
    assert "Traceback" in cli("--debug", "--plugins", path, "run", "sample").err
