"""Plugins of several tools on the command line, and types for those who call them."""

from __future__ import annotations

from pathlib import Path

from tests.api.conftest import Cli
from tests.conftest import WritePlugin

BODY = """
    def count(payload):
        return {"words": len(payload["text"].split())}

    def look(payload):
        return {"bytes": len(payload["image"])}
"""
TOOLS = (
    "{ count = { input_schema = { required = ['text'], examples = [{ text = 'a b' }] }, "
    "output_schema = { required = ['words'], properties = { words = { type = 'integer' } } } }, "
    "look = { input = 'image', limits = { wall_seconds = 2 } } }"
)


def test_a_tool_is_run_by_its_name(cli: Cli, write_plugin: WritePlugin, tmp_path: Path) -> None:
    """``run`` and ``analyze`` take it; the plugin's own name says which there are."""
    path = write_plugin(BODY, tools=TOOLS)
    ended = cli("--plugins", path, "run", "sample:count", "--payload", '{"text": "a b"}', "--json")
    [answer] = ended.documents
    assert (answer["plugin"], answer["result"]) == ("sample:count", {"words": 2})
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n1234")
    [answer] = cli("--plugins", path, "analyze", "sample:look", "a.png", "--json").documents
    assert answer["result"] == {"bytes": 12}
    ended = cli("--plugins", path, "run", "sample", "--payload", "{}", "--json")
    assert (ended.status, ended.error["type"]) == (2, "PluginNotFound")
    assert "sample:count, sample:look" in ended.error["message"]


def test_each_tool_is_listed_and_shown(cli: Cli, write_plugin: WritePlugin) -> None:
    """With its own limits and schemas; a plugin's name shows all of its tools."""
    path = write_plugin(BODY, tools=TOOLS)
    [listed] = cli("--plugins", path, "plugins", "--json").documents
    assert {"sample:count", "sample:look"} <= {one["name"] for one in listed}
    one, other = cli("--plugins", path, "plugins", "show", "sample", "--json").documents
    assert (one["name"], one["limits"]["wall_seconds"]) == ("sample:count", 30)
    assert one["output_schema"]["required"] == ["words"]
    assert (other["name"], other["limits"]["wall_seconds"]) == ("sample:look", 2)
    [alone] = cli("--plugins", path, "plugins", "show", "sample:look", "--json").documents
    assert alone["name"] == "sample:look"


def test_a_limit_that_tools_have_in_common_is_shown_once(
    cli: Cli, write_plugin: WritePlugin
) -> None:
    """Of the second tool those alone that differ."""
    shown = cli("--plugins", write_plugin(BODY, tools=TOOLS), "plugins", "show", "sample").out
    assert shown.count("wall_seconds") == 2
    assert shown.count("open_files") == 1
    assert "all but these as of sample:count" in shown
    same = "{ count = { input = 'json' }, look = { input = 'json' } }"
    shown = cli("--plugins", write_plugin(BODY, tools=same), "plugins", "show", "sample").out
    assert shown.count("wall_seconds") == 1
    assert "all as of sample:count" in shown


def test_what_goes_in_and_out_is_shown(cli: Cli, write_plugin: WritePlugin) -> None:
    """An example, properties with their types, and the key of an error."""
    path = write_plugin(BODY, tools=TOOLS, error_key='"problem"')
    shown = cli("--plugins", path, "plugins", "show", "sample:count", COLUMNS="200").out
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "takes text: anything, required" in lines
    assert 'for example {"text": "a b"}' in lines
    assert "returns words: integer, required" in lines
    assert "error key problem: a result that has it is an error" in lines
    bundled = cli("plugins", "show", "text-stats", COLUMNS="200").out
    assert "top: integer, default 10; How many of the most common words to list" in bundled


def test_a_name_of_which_a_part_is_mistyped_is_guessed(cli: Cli, write_plugin: WritePlugin) -> None:
    """With and without --types, and also where it is a tool's."""
    path = write_plugin(BODY, tools=TOOLS)
    for name, meant in (("txet", "text-stats"), ("cuont", "sample:count")):
        for options in ((), ("--types",)):
            ended = cli("--plugins", path, "plugins", "show", name, *options)
            assert ended.status == 2
            assert f"did you mean {meant}?" in ended.err


def test_check_tries_each_tool(cli: Cli, write_plugin: WritePlugin) -> None:
    """With its own sample."""
    path = write_plugin(BODY, tools=TOOLS)
    reports = cli("plugins", "check", path, "--json").documents
    assert [(one["plugin"], one["ok"]) for one in reports] == [
        ("sample:count", True),
        ("sample:look", True),
    ]


def test_what_a_plugin_needs_is_said_once(cli: Cli, write_plugin: WritePlugin) -> None:
    """All of its tools need the same: by its name, a tool's, its path, or as one of all."""
    path = write_plugin(BODY, tools=TOOLS)
    for target in ("sample", "sample:look", path):
        ended = cli("--plugins", path, "plugins", "install", target)
        assert (ended.status, ended.out) == (0, "sample: needs nothing\n")
    lacking = write_plugin(BODY, tools=TOOLS, name="lacks", dependencies='["no-such-thing>=9"]')
    [listed] = cli("--plugins", lacking, "plugins", "--json").documents
    reasons = {one["reason"] for one in listed if one["name"].startswith("lacks:")}
    assert len(reasons) == 1
    assert reasons.pop().endswith(f"toolrunner plugins install {lacking}")


def test_types_are_printed_as_a_module(cli: Cli, write_plugin: WritePlugin) -> None:
    """Of a plugin, of all tools of one, or of one tool; nothing is loaded for it."""
    path = write_plugin("import no_such_module\n", tools=TOOLS)
    ended = cli("--plugins", path, "plugins", "show", "sample", "--types")
    assert (ended.status, ended.err) == (0, "")
    assert "class SampleCountResult(TypedDict):\n    words: int\n" in ended.out
    assert "def run_sample_look(" in ended.out
    compile(ended.out, "types", "exec")
    ended = cli("--plugins", path, "plugins", "show", "sample:count", "--types")
    assert "def run_sample_look(" not in ended.out
    assert "def run_text_stats(" in cli("plugins", "show", "text-stats", "--types").out
    ended = cli("plugins", "show", "no-such", "--types", "--json")
    assert (ended.status, ended.error["type"]) == (2, "PluginNotFound")


def test_a_broken_plugin_has_no_types(cli: Cli, write_plugin: WritePlugin) -> None:
    """It says why."""
    path = write_plugin(BODY, memory="512")
    ended = cli("--plugins", path, "plugins", "show", "sample", "--types")
    assert ended.status == 2
    assert "sample cannot be used: ManifestError" in ended.err


def test_a_bundled_plugin_can_be_off(cli: Cli, write_plugin: WritePlugin) -> None:
    """Another one may have its name; without that, neither would run."""
    path = write_plugin("def run(payload):\n    return {'mine': True}\n", name="palette")
    options = ("--plugins", path, "run", "palette", "--payload", "{}", "--json")
    assert cli(*options).error["type"] == "PluginUnavailable"
    [answer] = cli(*options, TOOLRUNNER_DISABLE_BUNDLED="palette").documents
    assert answer["result"] == {"mine": True}
    [listed] = cli("plugins", "--json", TOOLRUNNER_DISABLE_BUNDLED="palette,ocr").documents
    assert [one["name"] for one in listed] == ["barcode", "image-info", "text-stats"]
    ended = cli("plugins", TOOLRUNNER_DISABLE_BUNDLED="palete")
    assert ended.status == 2
    assert "there is no bundled plugin palete; did you mean palette?" in ended.err
