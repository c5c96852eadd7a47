"""What a manifest may ask to read, what only the operator may grant, and the advice in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner.runner import for_everybody, plugin_files
from toolrunner.runner.plugin_files import PluginFiles
from toolrunner.runner.settings.settings import PluginSettings

READS = """
    def run(payload):
        return {"text": open(payload["path"]).read()}
"""


def _error(make_runner: MakeRunner, path: Path, **settings: object) -> str:
    _result, envelope = make_runner(path, **settings).run("sample", {"path": "/dev/null"})
    if envelope is None:
        return ""
    assert envelope["error"]["type"] == "PluginUnavailable"
    return envelope["error"]["message"]


@pytest.mark.parametrize("below", ["", "models", "models/deep"])
def test_nothing_in_a_home_folder_is_for_the_asking(
    below: str,
    open_folder: Path,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither it, nor what lies in it, nor what holds it; a link to it neither."""
    home = open_folder / "home"
    wanted = home / below
    wanted.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    link = open_folder / "link"
    link.symlink_to(wanted)
    for path in (wanted, link, open_folder):
        plugin = write_plugin(READS, read=f'["{path}"]')
        assert f"asks to read {path}, which plugins may not see" in _error(make_runner, plugin)
        granted = {"sample": PluginSettings(read=(path,))}
        assert _error(make_runner, plugin, plugin=granted) == ""


@pytest.mark.parametrize(
    "path", ["/home", "/root", "/etc", "/proc/self", "/var/lib", "/root/no-such", "/etc/no/such"]
)
def test_where_secrets_are_is_the_operators_to_grant(
    path: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """On every host, whoever runs it, and before it is there."""
    assert "may not see" in _error(make_runner, write_plugin(READS, read=f'["{path}"]'))


def test_what_cannot_be_found_is_no_secret_of_anybodys(
    open_folder: Path, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Where everybody may put something, or the operator has granted it, the plugin runs."""
    plugin = write_plugin(READS, read=f'["{open_folder}/no-such", "/srv/no-such"]')
    assert _error(make_runner, plugin) == ""
    granted = {"sample": PluginSettings(read=(Path("/root/no-such"),))}
    plugin = write_plugin(READS, read='["/root/no-such/deep"]')
    assert _error(make_runner, plugin, plugin=granted) == ""


def test_a_grant_is_for_what_it_names(
    open_folder: Path,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And what lies in it, and nothing beside it."""
    (open_folder / "models" / "deep").mkdir(parents=True)
    (open_folder / "models-too").mkdir()
    monkeypatch.setenv("HOME", str(open_folder))
    granted = {"sample": PluginSettings(read=(open_folder / "models",))}
    for name, is_granted in (("models/deep", True), ("models-too", False)):
        plugin = write_plugin(READS, read=f'["{open_folder / name}"]')
        assert (_error(make_runner, plugin, plugin=granted) == "") == is_granted


@pytest.mark.parametrize("where", ["", "below", "beside"])
@pytest.mark.parametrize("what", ["state", "blobs", "keep_failures", "config", "default_config"])
def test_nothing_of_toolrunners_own_is_for_the_asking(
    what: str,
    where: str,
    open_folder: Path,
    tmp_path: Path,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Payloads of others, keys and settings: neither they, nor what lies in them or holds them."""
    secret = tmp_path / "state" if what == "state" else open_folder / "srv" / "own"
    wanted = {"": secret, "below": secret / "deep", "beside": secret.parent}[where]
    (secret / "deep").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(open_folder / "home"))
    settings: dict[str, object] = {}
    if what == "blobs":
        settings["blobs"] = f"file://{secret}"
    elif what == "keep_failures":
        settings[what] = secret
    elif "config" in what:
        config = secret / "toolrunner" / "config.toml"
        config.parent.mkdir()
        config.write_text("")
        wanted = config if not where else config.parent if where == "below" else wanted
        name, value = ("TOOLRUNNER_CONFIG", config)
        if what == "default_config":
            name, value = ("XDG_CONFIG_HOME", secret)
        monkeypatch.setenv(name, str(value))
    plugin = write_plugin(READS, read=f'["{wanted}"]')
    refused = _error(make_runner, plugin, **settings)
    assert f"asks to read {wanted}, which plugins may not see for the sake of {secret}" in refused
    (open_folder / "models").mkdir()
    plugin = write_plugin(READS, read=f'["{open_folder}/models"]')
    assert _error(make_runner, plugin, **settings) == ""


@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [
        ("top/deep/id_rsa", 0o600, "{} is not for everybody to read"),
        ("top/id_rsa", 0o640, "{} is not for everybody to read"),
        ("top/deep", 0o700, "{} is not for everybody to read"),
        ("top/deep", 0o751, "{} is not for everybody to read"),
        ("top", 0o744, "{} is not for everybody to read"),
        ("", 0o750, "{} is not for everybody to enter"),
        ("top/toolrunner-inputs-abcd_123", 0o755, "{} is a scratch folder of calls"),
    ],
)
def test_where_all_put_files_a_plugin_gets_what_is_for_everybody(
    name: str,
    mode: int,
    words: str,
    open_folder: Path,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
) -> None:
    """All of what it asks for, and the way there; else it is told what is not, and what to do."""
    holder = open_folder / "holder"
    (holder / "top" / "deep").mkdir(parents=True)
    (holder / "top" / "public").write_text("for all")
    (holder / "top" / "link").symlink_to("/nowhere")
    plugin = write_plugin(READS, read=f'["{holder}/top"]')
    assert _error(make_runner, plugin) == ""
    private = holder / name
    if "id_rsa" in name:
        private.write_text("secret")
    elif not private.exists():
        private.mkdir()
    private.chmod(mode)
    refused = _error(make_runner, plugin)
    assert words.format(private) in refused
    assert "chmod -R a+rX" in refused
    granted = {"sample": PluginSettings(read=(holder / "top",))}
    assert _error(make_runner, plugin, plugin=granted) == ""


def test_more_than_can_be_looked_at_is_not_for_the_asking(
    open_folder: Path,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One more than the bound is refused for that reason, and the bound itself is not."""
    for name in ("one", "two", "three"):
        (open_folder / name).write_text("for all")
    plugin = write_plugin(READS, read=f'["{open_folder}"]')
    monkeypatch.setattr(for_everybody, "MOST_LOOKED_AT", 3)
    assert _error(make_runner, plugin) == ""
    monkeypatch.setattr(for_everybody, "MOST_LOOKED_AT", 2)
    assert "it has more than 2 files and folders" in _error(make_runner, plugin)


def test_what_is_for_everybody_is_looked_for_once_a_second_at_most(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not for each call."""
    files = PluginFiles()
    found = files.find(str(open_folder))
    assert files.private(found) == ""
    (open_folder / "id_rsa").touch(mode=0o600)
    assert files.private(found) == ""
    monkeypatch.setattr(plugin_files, "CHECK_SECONDS", 0)
    monkeypatch.setattr(plugin_files, "SPARING", 0)
    assert files.private(found) == f"{open_folder}/id_rsa is not for everybody to read"
