"""A path where a plugin's name is meant, a URL where a file is meant: what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.conftest import Cli
from tests.conftest import WritePlugin

ECHO = "def run(payload):\n    return {'keys': sorted(payload)}\n"
URL = "https://example.org/a.png"


def words(text: str) -> str:
    """Return a message without the lines that a terminal's width has made of it."""
    return " ".join(text.replace("  | ", "").split())


def test_a_plugins_file_is_no_name(cli: Cli, write_plugin: WritePlugin, png: Path) -> None:
    """The whole line is given as it should be, and it works."""
    path = write_plugin(ECHO, input="image")
    for given in (["analyze", path, png], ["run", path, png], ["plugins", "show", path]):
        ended = cli(*given, "--json")
        assert (ended.status, ended.error["type"]) == (2, "PluginNotFound")
        assert f"{path} is a path, and a plugin's name is meant: " in ended.error["message"]
        line = ended.error["message"].partition("meant: toolrunner ")[2].split()
        assert line[:3] == ["--plugins", str(path), str(given[0])]
        assert (line[-1] == str(png)) == (png in given)
        assert cli(*line).status == (2 if given[0] == "run" else 0)  # it takes images


def test_a_folder_of_plugins_names_them(cli: Cli, write_plugin: WritePlugin) -> None:
    """Of several the first is in the line."""
    folder = write_plugin(ECHO, name="one").parent
    write_plugin(ECHO, name="two")
    message = cli("run", folder, "--json").error["message"]
    assert f"a plugin's name is meant, one of one, two: toolrunner --plugins {folder} run one" in (
        message
    )


def test_a_plugin_of_the_working_folder_has_to_be_named(
    cli: Cli, write_plugin: WritePlugin
) -> None:
    """Its name alone is not known; the line that is told works."""
    path = write_plugin(ECHO, name="my-own")
    path.rename(path.with_name("my_own.py"))
    message = cli("run", "my-own", "--json").error["message"]
    line = "toolrunner --plugins my_own.py run my-own"
    assert message == f"my-own is in my_own.py, which has to be named: {line}"
    assert cli(*line.split()[1:], "--payload", "{}").status == 0


def test_a_picture_before_the_plugin_changes_places(cli: Cli, png: Path) -> None:
    """Whoever writes the file first is given the line in order."""
    message = cli("analyze", png, "palette", "--json").error["message"]
    assert message == (
        f"{png} is a file, and the plugin's name comes first: toolrunner analyze palette {png}"
    )


def test_a_picture_without_a_plugin(cli: Cli, png: Path) -> None:
    """The plugin's name is what is missing, not the image."""
    for command in ("analyze", "run"):
        message = cli(command, png, "--json").error["message"]
        assert message == (
            f"{png} is a file, and the plugin's name comes first: "
            f"toolrunner {command} PLUGIN {png}; `toolrunner plugins` lists them"
        )


TAKES = {
    "image": "takes images; use: toolrunner analyze sample IMAGE",
    "files": "takes files; use: toolrunner run sample FILE...",
}


@pytest.mark.parametrize(
    ("takes", "payload"),
    [
        ("files", '{"files": ["cities.csv"]}'),
        ("image", '{"image": "photo.png"}'),
        ("image", None),
        ("files", None),
    ],
)
def test_a_file_that_is_named_in_a_payload(
    takes: str, payload: str | None, cli: Cli, write_plugin: WritePlugin
) -> None:
    """JSON has what is in a file; what is typed here names it."""
    path = write_plugin("def run(payload):\n    return {}\n", input=takes)
    given = () if payload is None else ("--payload", payload)
    ended = cli("--plugins", path, "run", "sample", *given, "--json")
    assert (ended.status, ended.error["message"]) == (2, f"sample {TAKES[takes]}")
    ended = cli("--plugins", path, "run", "sample", "--payload", '{"image": "Zg==", "files": []}')
    assert "toolrunner" not in ended.err


def test_a_path_with_nothing_there_is_no_image(cli: Cli, png: Path) -> None:
    """It is told apart from images that have failed."""
    ended = cli("analyze", "palette", png, "nofile.png", "nofolder/")
    assert ended.status == 2
    assert ended.err.endswith("1 image: 1 done; 2 paths with nothing there\n")


def test_a_plugin_without_a_picture(cli: Cli) -> None:
    """And with none there is no plugin to say it of."""
    ended = cli("analyze", "palette")
    assert ended.status == 2
    assert "name an image, or a folder of images: toolrunner analyze palette IMAGE..." in ended.err


def test_a_name_that_is_none_is_told_of_no_file(cli: Cli, png: Path) -> None:
    """Of however many there are."""
    ended = cli("analyze", "pallete", png, png)
    assert ended.status == 2
    assert ended.err.count("PluginNotFound") == 1
    assert "✗ pallete: PluginNotFound" in ended.err
    assert "did you mean 'palette'?" in words(ended.err)


@pytest.mark.parametrize("name", ["no/such/plugin.py", "./palette"])
def test_any_other_path_is_told_apart(cli: Cli, name: str) -> None:
    """How to list plugins, and how to add to them."""
    message = cli("run", name, "--json").error["message"]
    assert f"{name} is a path, and a plugin's name is meant" in message
    assert "--plugins PATH" in message


def test_a_file_of_a_plugins_name_changes_nothing(cli: Cli, tmp_path: Path, png: Path) -> None:
    """The name of a plugin that is known is never taken for a path."""
    (tmp_path / "palette").write_text("no plugin")
    assert cli("analyze", "palette", png).status == 0


def test_a_url_is_no_file(cli: Cli) -> None:
    """Nothing is fetched: the message has the pipe that does it."""
    ended = cli("analyze", "palette", URL, "--json")
    assert (ended.status, ended.error["type"]) == (2, "ValidationError")
    assert f"curl -fsSL {URL} | toolrunner" in ended.error["message"]
    ended = cli("run", "text-stats", "--payload", f"@{URL}", "--json")
    assert f"{URL} is a URL" in ended.error["message"]


def test_a_url_is_no_plugin(cli: Cli) -> None:
    """Neither by name nor by path."""
    assert f"{URL} is a URL, and a plugin's name is meant" in words(cli("run", URL).err)
    ended = cli("--plugins", URL, "plugins")
    assert ended.status == 2
    assert "download what it leads to, and name that" in words(ended.err)
