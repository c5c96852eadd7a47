"""Settings: precedence, where each value came from, and the words for every mistake."""

import os
import pwd
from pathlib import Path

import pytest
from pydantic import ValidationError

from toolrunner.runner.settings.caps import default_caps
from toolrunner.runner.settings.settings import PluginSettings, Settings, SettingsError
from toolrunner.sandbox.limits import LIMIT_NAMES


@pytest.fixture(autouse=True)
def _only_this_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's own configuration out of these tests."""
    for name in [name for name in os.environ if name.startswith("TOOLRUNNER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the file that TOOLRUNNER_CONFIG names."""
    path = tmp_path / "x.toml"
    monkeypatch.setenv("TOOLRUNNER_CONFIG", str(path))
    return path


def complaint() -> str:
    """Return why the settings in force are refused."""
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    return str(caught.value)


def test_defaults_hold_without_any_configuration(tmp_path: Path) -> None:
    """Nothing allowed, every limit capped, room for 64 to wait; and every source says so."""
    settings = Settings.load()
    assert [settings.plugins, settings.allow_installed, settings.allow_network] == [()] * 3
    assert (settings.isolation, settings.caps, settings.plugin) == ("full", default_caps(), {})
    assert settings.state == tmp_path / "state" / "toolrunner"
    assert settings.max_concurrent == 4 * (os.cpu_count() or 1)
    assert settings.max_parallel == 2 * (os.cpu_count() or 1)
    assert (settings.max_waiting, settings.queue_seconds) == (64, 30.0)
    assert (settings.standby, settings.max_boxes, settings.boxes_memory_mb) == (2, 32, 2048)
    assert (settings.idle_seconds, settings.calls_per_box) == (300.0, 10_000)
    names = {*Settings.model_fields, *(f"caps.{name}" for name in LIMIT_NAMES)} - {"caps"}
    assert settings.sources() == dict.fromkeys(names, "default")


def test_constructed_directly_it_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment nor a file reaches settings that a program made itself."""
    monkeypatch.setenv("TOOLRUNNER_MAX_WAITING", "7")
    settings = Settings(max_concurrent=2)
    assert (settings.max_waiting, settings.max_concurrent) == (64, 2)
    assert settings.sources()["max_concurrent"] == "argument"


def test_argument_wins_over_environment_over_file_over_default(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four settings, each given by one source more."""
    config.write_text("max_concurrent = 2\nmax_waiting = 2\nqueue_seconds = 2\n")
    monkeypatch.setenv("TOOLRUNNER_MAX_WAITING", "3")
    monkeypatch.setenv("TOOLRUNNER_QUEUE_SECONDS", "3")
    settings = Settings.load(queue_seconds=4, isolation=None)
    assert (settings.max_concurrent, settings.max_waiting, settings.queue_seconds) == (2, 3, 4)
    sources = settings.sources()
    assert sources["isolation"] == "default"
    assert sources["max_concurrent"] == f"{config} line 1"
    assert sources["max_waiting"] == "environment TOOLRUNNER_MAX_WAITING"
    assert sources["queue_seconds"] == "argument"


def test_warm_boxes_and_standby_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nought is a value of these two, and not a mistake."""
    monkeypatch.setenv("TOOLRUNNER_MAX_BOXES", "0")
    monkeypatch.setenv("TOOLRUNNER_STANDBY", "0")
    settings = Settings.load()
    assert (settings.max_boxes, settings.standby) == (0, 0)


def test_caps_of_all_sources_are_joined(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each limit has the value and the source of its strongest layer, and its own type."""
    config.write_text("[caps]\ncpu_seconds = 4\nmemory_mb = 100\n\nthreads = 9\n")
    monkeypatch.setenv("TOOLRUNNER_CAPS", '{"memory_mb": 300, "wall_seconds": 3}')
    monkeypatch.setenv("TOOLRUNNER_CAPS__MEMORY_MB", "256")
    settings = Settings.load(caps={"threads": 8})
    given = {"cpu_seconds": 4, "memory_mb": 256, "wall_seconds": 3, "threads": 8}
    assert settings.caps == default_caps() | given
    assert isinstance(settings.caps["memory_mb"], int)
    assert isinstance(settings.caps["cpu_seconds"], float)
    sources = settings.sources()
    assert sources["caps.cpu_seconds"] == f"{config} line 2"
    assert sources["caps.memory_mb"] == "environment TOOLRUNNER_CAPS__MEMORY_MB"
    assert sources["caps.wall_seconds"] == "environment TOOLRUNNER_CAPS"
    assert sources["caps.threads"] == "argument"


@pytest.mark.parametrize("name", ["allow_network", "allow_installed", "allow_resident"])
@pytest.mark.parametrize("text", ["one,other", '["one", "other"]'])
def test_a_list_of_names_can_stand_in_a_variable(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every list: separated by commas, or as JSON."""
    monkeypatch.setenv(f"TOOLRUNNER_{name.upper()}", text)
    assert getattr(Settings.load(), name) == ("one", "other")


def test_lists_in_the_environment_are_separated_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths by the system's separator, names by commas and blanks, both also as JSON."""
    monkeypatch.setenv("TOOLRUNNER_PLUGINS", os.pathsep.join(["/a", "", "b/c.py"]))
    monkeypatch.setenv("TOOLRUNNER_ALLOW_INSTALLED", "one, two ,")
    monkeypatch.setenv("TOOLRUNNER_TRUSTED_PROXIES", "127.0.0.1, ::1")
    monkeypatch.setenv("TOOLRUNNER_ALLOW_NETWORK", '["fetch"]')
    settings = Settings.load()
    assert settings.plugins == (Path("/a"), Path("b/c.py"))
    assert settings.allow_installed == ("one", "two")
    assert settings.trusted_proxies == ("127.0.0.1", "::1")
    assert settings.allow_network == ("fetch",)


def test_plugin_gets_its_own_table(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Config and read of one plugin, from the file and from variables."""
    config.write_text('[plugin.ocr]\nread = ["/models"]\nconfig = { key = "k", top = [1] }\n')
    monkeypatch.setenv("TOOLRUNNER_PLUGIN__OCR__CONFIG__KEY", "other")
    settings = Settings.load()
    own = PluginSettings(config={"key": "other", "top": [1]}, read=(Path("/models"),))
    assert settings.plugin == {"ocr": own}
    assert settings.sources()["plugin.ocr.read"] == f"{config} line 2"


def test_file_of_the_user_is_read_if_it_is_there(tmp_path: Path) -> None:
    """Without TOOLRUNNER_CONFIG the user's own folder is looked into."""
    path = tmp_path / "config" / "toolrunner" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("max_waiting = 5\n")
    assert Settings.load().max_waiting == 5
    assert Settings.load().sources()["max_waiting"] == f"{path} line 1"


def test_settings_cannot_be_changed() -> None:
    """What was checked once stays so."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings.load().max_waiting = 3


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("STAET", "x", "unknown variable; did you mean TOOLRUNNER_STATE?"),
        ("PLUGINZ", "x", "; did you mean TOOLRUNNER_PLUGIN or TOOLRUNNER_PLUGINS?"),
        ("ISOLATION", "none", "isolation: must be 'full' or 'degraded'"),
        ("ISOLATION__X", "full", "isolation has no parts; set TOOLRUNNER_ISOLATION"),
        ("STATE", "", "state: must not be empty; name a folder"),
        ("MAX_CONCURRENT", "0", "max_concurrent: must be at least 1"),
        ("MAX_WAITING", "many", "max_waiting: must be a whole number, such as 64"),
        ("QUEUE_SECONDS", "nan", "queue_seconds: must be at most 86400"),
        ("MAX_PARALLEL", "0", "max_parallel: must be at least 1"),
        ("STANDBY", "-1", "standby: must be at least 0"),
        ("STANDBY", "65", "standby: must be at most 64"),
        ("MAX_BOXES", "-1", "max_boxes: must be at least 0"),
        ("BOXES_MEMORY_MB", "0", "boxes_memory_mb: must be at least 1"),
        ("IDLE_SECONDS", "0", "idle_seconds: must be more than 0"),
        ("IDLE_SECONDS", "inf", "idle_seconds: must be at most 86400"),
        ("CALLS_PER_BOX", "0", "calls_per_box: must be at least 1"),
        ("CAPS", "memory_mb=3", "write JSON, such as"),
        ("CAPS", "[1]", 'caps: must be a table, such as {"memory_mb": 1024}'),
        ("CAPS", '{"memory_mb": 1, "memory_mb": 2}', 'the key "memory_mb" occurs twice'),
        ("CAPS", '{"memory": 1}', "caps.memory: unknown limit; did you mean memory_mb?"),
        ("CAPS__MEMORY", "1", "caps.memory: unknown limit; did you mean memory_mb?"),
        ("CAPS__MEMORY_MB", "lots", "caps.memory_mb: must be a number, such as 512"),
        ("CAPS__MEMORY_MB", "0", "caps.memory_mb: must be more than 0"),
        ("CAPS__MEMORY_MB", "-1", "caps.memory_mb: must be more than 0"),
        ("CAPS__MEMORY_MB", "true", "caps.memory_mb: must be a number"),
        ("CAPS__PROCESSES", "1.5", "caps: processes must be a whole number, not 1.5"),
        ("CAPS__MEMORY_MB__X", "1", "caps.memory_mb: must be a number, such as 512"),
        ("CAPS__", "1", "a part of the name is empty"),
        ("ALLOW_NETWORK", "Ocr", "must be a plugin's name"),
        ("PLUGIN", "ocr", "write JSON"),
        ("PLUGIN__OCR__READ", '["models"]', "plugin.ocr.read.0: must be an absolute path"),
        ("PLUGIN__OCR__REED", "[]", "plugin.ocr.reed: unknown setting; did you mean read?"),
    ],
)
def test_faulty_variable_is_named_with_the_remedy(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variable, key and what to do stand in the message."""
    monkeypatch.setenv(f"TOOLRUNNER_{name}", value)
    message = complaint()
    assert message.startswith(f"environment TOOLRUNNER_{name}: ")
    assert words in message


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('isolatoin = "full"', 1, "isolatoin: unknown setting; did you mean isolation?"),
        ("[caps]\n\nmemory = 3", 3, "caps.memory: unknown limit; did you mean memory_mb?"),
        ('[caps]\nmemory_mb = "3 GB"', 2, "caps.memory_mb: must be a number, such as 512"),
        ("[plugin.ocr]\nconfg = {}", 2, "plugin.ocr.confg: unknown setting; did you mean config?"),
        ('[plugin.ocr]\nread = ["m"]', 2, "plugin.ocr.read.0: must be an absolute path"),
        ("[plugin.ocr]\nconfig.x = 2020-01-01", 2, 'config["x"]: date is not JSON'),
        ("[plugin.ocr]\nconfig.x = inf", 2, 'config["x"]: inf is not JSON'),
        ("[plugin.OCR]", 1, "must be a plugin's name"),
        ("caps = 3", 1, "caps: must be a table, such as { memory_mb = 1024 }"),
        ('plugins = "/a"', 1, 'plugins: must be a list, such as ["/srv/plugins"]'),
        ('allow_resident = "ocr"', 1, 'must be a list, such as ["my-plugin"]'),
        (
            "allow_resident = [1]",
            1,
            'allow_resident.0: must be text in quotes, such as "my-plugin"',
        ),
        (
            '[plugin.ocr]\nread = "/m"',
            2,
            'plugin.ocr.read: must be a list, such as ["/srv/models"]',
        ),
        ("[plugin]\nocr = 1", 2, 'plugin.ocr: must be a table, such as { read = ["/srv/models"] }'),
        ("state = 1", 1, 'state: must be a path in quotes, such as "/var/lib/toolrunner"'),
        ("plugins = [1]", 1, 'plugins.0: must be a path in quotes, such as "/srv/plugins"'),
        ("max_jobs = 1.5", 1, "max_jobs: must be a whole number, such as 1000"),
        ("max_jobs = []", 1, "max_jobs: must be a whole number, such as 1000"),
        ("[plugin.ocr]\nconfig = 1", 2, "plugin.ocr.config: must be a table, such as"),
    ],
)
def test_faulty_key_in_a_file_is_named_with_its_line(
    text: str, line: int, words: str, config: Path
) -> None:
    """File, line, key and what to do stand in the message."""
    config.write_text(text)
    message = complaint()
    assert message.startswith(f"{config} line {line}: ")
    assert words in message


def test_all_mistakes_are_told_at_once(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line each, so that one look mends them all."""
    config.write_text("max_concurrent = 0\nmax_wating = 1\n")
    monkeypatch.setenv("TOOLRUNNER_QUEUE_SECONDS", "-1")
    assert len(complaint().splitlines()) == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"x = ", "not TOML: "),
        (b"a = 1\na = 2\n", "line 2"),
        (b'"\xff" = 1', "is not UTF-8"),
        (b"#" * 2_000_000, "is larger than"),
        (b"x = " + b"[" * 50_000, "not "),
        (b"x = " + b"9" * 5_000, "not TOML: "),
    ],
)
def test_unreadable_file_is_named(content: bytes, words: str, config: Path) -> None:
    """What is no TOML is told with the file and, where TOML knows it, the line."""
    config.write_bytes(content)
    message = complaint()
    assert message.startswith(f"{config}: ")
    assert words in message


def test_named_file_must_exist(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads nowhere is a mistake, and so is an empty one or a folder."""
    assert complaint() == f"{config}: there is no such file; correct TOOLRUNNER_CONFIG, or unset it"
    config.mkdir()
    assert complaint() == f"{config}: is a folder; name the TOML file in it"
    monkeypatch.setenv("TOOLRUNNER_CONFIG", "")
    assert "is empty" in complaint()


def test_unknown_argument_is_refused() -> None:
    """A misspelt argument is no default."""
    with pytest.raises(SettingsError, match="argument: max_wating: unknown setting; did you mean"):
        Settings.load(max_wating=3)


def test_a_user_without_a_home_is_told_what_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a number: no HOME, and no entry in passwd.

    But only where something is to be kept.
    """

    def nobody(_uid: int) -> pwd.struct_passwd:
        message = "uid not found"
        raise KeyError(message)

    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    homeless = Settings.load()
    assert not homeless.keeps_state
    with pytest.raises(SettingsError, match="TOOLRUNNER_STATE"):
        homeless.kept_state()
    monkeypatch.setenv("TOOLRUNNER_STATE", "/srv/state")
    assert Settings.load().kept_state() == Path("/srv/state")


@pytest.mark.parametrize("source", ["argument", "variable", "file"])
def test_a_relative_state_folder_is_meant_from_where_it_was_named(
    source: str, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boxes and workers have other working folders."""
    monkeypatch.chdir(tmp_path)
    if source == "variable":
        monkeypatch.setenv("TOOLRUNNER_STATE", "kept")
    config.write_text('state = "kept"\n' if source == "file" else "")
    settings = Settings.load(state="kept") if source == "argument" else Settings.load()
    assert settings.state == tmp_path / "kept"
