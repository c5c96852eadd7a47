"""Everything that can be wrong with what is asked for: who is told what, and with which status."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.api.conftest import Cli
from tests.conftest import WritePlugin

ECHO = "def run(payload):\n    return {'keys': sorted(payload)}\n"


def test_unknown_plugin_names_the_likely_one(cli: Cli, png: Path) -> None:
    """A misspelt plugin is the caller's fault, and the message knows the right spelling."""
    ended = cli("analyze", "palete", png, "--json")
    assert ended.status == 2
    assert ended.error["type"] == "PluginNotFound"
    assert "did you mean 'palette'?" in ended.error["message"]
    assert ended.err == ""


def test_unavailable_plugin_is_the_plugins_fault(cli: Cli, write_plugin: WritePlugin) -> None:
    """A plugin that lacks a package says which one."""
    path = write_plugin(ECHO)
    path.write_text(path.read_text().replace("= []", '= ["no-such-package-anywhere>=1"]'))
    ended = cli("--plugins", path, "run", "sample", "--json")
    assert ended.status == 1
    assert ended.error["type"] == "PluginUnavailable"
    assert "no-such-package-anywhere" in ended.error["message"]


def test_empty_image_file_is_refused(cli: Cli, tmp_path: Path) -> None:
    """An empty file is no image, and the message names it."""
    (tmp_path / "empty.png").touch()
    ended = cli("analyze", "palette", "empty.png", "--json")
    assert (ended.status, ended.error["type"]) == (2, "ValidationError")
    assert "empty.png is empty" in ended.error["message"]


def test_wrong_mime_type_lists_the_right_ones(cli: Cli, png: Path) -> None:
    """A type that the plugin does not take is refused with those that it takes."""
    ended = cli("analyze", "palette", png, "--mime-type", "image/x-unheard-of", "--json")
    assert (ended.status, ended.error["type"]) == (2, "ValidationError")
    assert "image/x-unheard-of" in ended.error["message"]
    assert "image/png" in ended.error["message"]


def test_a_text_file_is_no_image(cli: Cli, tmp_path: Path) -> None:
    """What no signature fits goes by the type that says so, and is refused before it runs."""
    (tmp_path / "notes.png").write_text("these are only words")
    ended = cli("analyze", "palette", "notes.png", "--json")
    assert (ended.status, ended.error["type"]) == (2, "ValidationError")
    assert "application/octet-stream" in ended.error["message"]
    assert ended.error["details"]["isolation"]["layers"] == []


def test_a_damaged_image_is_the_callers_fault(cli: Cli, tmp_path: Path) -> None:
    """A file that begins like a PNG and is none is the plugin's InvalidInput."""
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing of the kind")
    ended = cli("analyze", "palette", "damaged.png", "--json")
    assert (ended.status, ended.error["type"]) == (2, "ValidationError")
    assert ended.error["details"]["exception"] == "InvalidInput"


def test_junk_base64_is_refused(cli: Cli) -> None:
    """Base64 is taken strictly."""
    payload = json.dumps({"image": "%%% not base64 %%%", "mime_type": "image/png"})
    ended = cli("run", "palette", "--payload", payload, "--json")
    assert (ended.status, ended.error["type"]) == (2, "ValidationError")
    assert "strict base64" in ended.error["message"]


def test_missing_image_is_refused(cli: Cli) -> None:
    """An image plugin without an image says how to give one."""
    ended = cli("run", "palette", "--json")
    assert (ended.status, ended.error["type"]) == (2, "ValidationError")
    assert "use: toolrunner analyze palette IMAGE" in ended.error["message"]


@pytest.mark.parametrize("payload", ["[1, 2]", '"text"', "17", "null"])
def test_payload_that_is_no_object_is_refused(cli: Cli, payload: str) -> None:
    """A payload is a JSON object."""
    ended = cli("run", "text-stats", "--payload", payload, "--json")
    assert (ended.status, ended.error["type"]) == (2, "ValidationError")
    assert "the payload is of type" in ended.error["message"]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ('{"text": ', "line 1 column 10"),
        ('{"text": NaN}', "NaN is not JSON"),
        ('{"text": "a", "text": "b"}', "occurs twice"),
        ("[" * 200 + "]" * 200, "nested more than 100 deep"),
        ("@nowhere.json", "nowhere.json: there is no such file"),
        ("@.", "is a folder"),
    ],
)
def test_payload_that_is_not_strict_json_says_where(cli: Cli, payload: str, words: str) -> None:
    """What cannot be read as strict JSON is a ValidationError with the place."""
    ended = cli("run", "text-stats", "--payload", payload, "--json")
    assert (ended.status, ended.error["type"]) == (2, "ValidationError")
    assert words in ended.error["message"]


def test_payload_of_200_mb_is_refused(cli: Cli, tmp_path: Path) -> None:
    """A payload beyond payload_mb is refused with both figures, and never sent."""
    (tmp_path / "large.json").write_bytes(b'{"text": "%s"}' % (b"a" * 200 * 2**20))
    ended = cli("run", "text-stats", "--payload", "@large.json", "--json")
    assert (ended.status, ended.error["type"]) == (2, "ValidationError")
    assert "200.0 MiB" in ended.error["message"]
    assert ended.error["details"]["limit"]["configured"] == 4


def test_image_of_200_mb_is_not_even_read(cli: Cli, tmp_path: Path, png: Path) -> None:
    """A file beyond payload_mb is refused by name; the others still run."""
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(200 * 2**20)
    ended = cli("analyze", "palette", "large.png", png, "--json")
    refused, answered = ended.documents
    assert ended.status == 2
    assert "large.png is larger than 64 MiB" in refused["error"]["message"]
    assert refused["error"]["details"]["limit"]["observed"] == 200
    assert answered["result"]["colours"]


def test_an_endless_file_is_refused(cli: Cli) -> None:
    """A device without an end is read up to the limit only."""
    ended = cli("analyze", "palette", "/dev/zero", "--json")
    assert (ended.status, ended.error["type"]) == (2, "ValidationError")
    assert "larger than 64 MiB" in ended.error["message"]


def test_unreadable_files_leave_the_others_alone(cli: Cli, png: Path) -> None:
    """A missing file is that argument's error alone."""
    ended = cli("analyze", "palette", "nope.png", png, "--json")
    refused, answered = ended.documents
    assert ended.status == 2
    assert refused["file"] == "nope.png"
    assert refused["error"]["type"] == "ValidationError"
    assert "there is no such file" in refused["error"]["message"]
    assert answered["file"] == str(png)


def test_a_json_plugin_takes_no_images(cli: Cli, png: Path) -> None:
    """Whoever gives an image to a JSON plugin is told the command to use."""
    ended = cli("analyze", "text-stats", png, "--json")
    assert (ended.status, ended.error["type"]) == (2, "ValidationError")
    assert "toolrunner run text-stats" in ended.error["message"]


def test_manifest_with_a_wrong_key_shows_where(cli: Cli, write_plugin: WritePlugin) -> None:
    """A broken manifest makes that plugin unavailable, and says file, line and key."""
    path = write_plugin(ECHO, memory="512")
    ended = cli("--plugins", path, "run", "sample", "--json")
    assert (ended.status, ended.error["type"]) == (1, "PluginUnavailable")
    assert f"{path.name}:9" in ended.error["message"]
    assert "unknown key" in ended.error["message"]


def test_two_plugins_of_one_name_are_both_refused(cli: Cli, write_plugin: WritePlugin) -> None:
    """Nobody guesses which of two was meant: both files are named."""
    first = write_plugin(ECHO)
    second = first.with_name("second.py")
    second.write_text(first.read_text())
    ended = cli("--plugins", first, "--plugins", second, "run", "sample", "--json")
    assert (ended.status, ended.error["type"]) == (1, "PluginUnavailable")
    assert "both claim the name sample" in ended.error["message"]
    assert second.name in ended.error["message"]


def test_plugin_folder_that_does_not_exist_is_the_callers_fault(cli: Cli) -> None:
    """A wrong --plugins ends the command before anything runs."""
    ended = cli("--plugins", "nowhere", "plugins", "list", "--json")
    assert (ended.status, ended.out) == (2, "")
    assert "nowhere: there is no such file or folder" in ended.err


def test_plugin_folder_of_the_environment_is_checked_alike(cli: Cli) -> None:
    """TOOLRUNNER_PLUGINS is held to the same rule as the option."""
    ended = cli("plugins", TOOLRUNNER_PLUGINS="/nowhere/at/all")
    assert ended.status == 2
    assert "/nowhere/at/all" in ended.err


def test_file_without_a_manifest_is_the_callers_fault(cli: Cli, tmp_path: Path) -> None:
    """A named file that is no plugin is refused with the manifest that it lacks."""
    (tmp_path / "plain.py").write_text("def run(payload):\n    return {}\n")
    for arguments in (["--plugins", "plain.py", "plugins"], ["plugins", "check", "plain.py"]):
        ended = cli(*arguments)
        assert ended.status == 2
        assert "# [tool.toolrunner]" in ended.err


@pytest.mark.parametrize(
    ("option", "words"), [("colours", "KEY=VALUE"), ("=3", "KEY=VALUE"), ("a={b", "--option a")]
)
def test_malformed_option_is_explained(cli: Cli, png: Path, option: str, words: str) -> None:
    """An option has a key, and what begins like JSON has to be JSON."""
    ended = cli("analyze", "palette", png, "--option", option)
    assert (ended.status, ended.out) == (2, "")
    assert words in ended.err


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["analyze"], ["run", "x", "--what"]])
def test_usage_errors_have_status_2(cli: Cli, arguments: list[str]) -> None:
    """A command line that makes no sense is the caller's fault; stdout stays clean."""
    ended = cli(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert "Usage: toolrunner" in ended.err


def test_bad_setting_is_the_callers_fault(cli: Cli) -> None:
    """A variable that nobody can use is named, with the one that was meant."""
    ended = cli("plugins", TOOLRUNNER_ISOLATON="degraded")
    assert ended.status == 2
    assert "TOOLRUNNER_ISOLATON" in ended.err
    assert "TOOLRUNNER_ISOLATION" in ended.err


def test_the_image_of_a_payload_may_be_base64(cli: Cli, png: Path) -> None:
    """``run`` reaches image plugins too."""
    image = base64.b64encode(png.read_bytes()).decode()
    payload = json.dumps({"image": image, "mime_type": "image/png"}).encode()
    ended = cli("run", "palette", "--payload", "-", "--json", stdin=payload)
    assert ended.status == 0
    assert ended.documents[0]["result"]["colours"]
