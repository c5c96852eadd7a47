"""``toolrunner doctor``, ``config`` and ``--version``: what this host and its operator say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.conftest import Cli
from toolrunner.api.cli import doctor
from toolrunner.api.cli.console import Terminal
from toolrunner.sandbox.layers import LAYER_NAMES, Layers, floor_gaps
from toolrunner.sandbox.probe import Host, Trial


def test_doctor_reports_every_layer(cli: Cli, host_layers: Layers) -> None:
    """Each layer has its operation, and the floor is judged as the sandbox judges it."""
    ended = cli("doctor", "--json")
    [found] = ended.documents
    layers = {layer["layer"]: layer for layer in found["layers"]}
    assert set(LAYER_NAMES) <= set(layers)
    assert all(layer["operation"] for layer in layers.values())
    assert layers["seccomp"]["on"] == host_layers.seccomp
    assert layers["cgroup"]["on"] == (host_layers.cgroup > 0)
    assert found["floor"]["gaps"] == list(floor_gaps(host_layers))
    assert ended.status == (0 if found["floor"]["met"] else 3)


def test_doctor_speaks_plainly(cli: Cli) -> None:
    """The view for people has the host, the layers and a verdict."""
    ended = cli("doctor")
    for words in ("python", "kernel", "user", "seccomp", "cgroup", "This host"):
        assert words in ended.out


def test_doctor_says_what_may_be_resident(cli: Cli) -> None:
    """And within which bounds."""
    [shown] = cli("doctor", "--json", TOOLRUNNER_ALLOW_RESIDENT="one,two").documents
    assert shown["residents"]["allowed"] == ["one", "two"]
    assert shown["residents"]["per"] == "caller"
    assert "No plugin may be resident" in " ".join(cli("doctor").out.split())
    allowed = cli("doctor", TOOLRUNNER_ALLOW_RESIDENT="*", TOOLRUNNER_MAX_BATCH="7").out
    assert "All plugins may be resident" in " ".join(allowed.split())
    assert "7 of them together" in " ".join(allowed.split())


def test_doctor_works_whatever_the_settings(cli: Cli) -> None:
    """A broken setting does not keep anyone from asking what is wrong with the host; it is told."""
    ended = cli("doctor", TOOLRUNNER_NONSENSE="1")
    assert ended.status in {0, 3}
    assert "Settings: environment TOOLRUNNER_NONSENSE: unknown variable" in ended.out


def test_doctor_tells_of_names_that_no_plugin_has(cli: Cli) -> None:
    """With the one that was meant: a name in the settings allows nothing else."""
    mistaken = {
        "TOOLRUNNER_ALLOW_RESIDENT": "palete,barcode,*",
        "TOOLRUNNER_ALLOW_NETWORK": "ocr,bar-code",
        "TOOLRUNNER_PLUGIN__OCRR__READ": '["/srv"]',
    }
    [shown] = cli("doctor", "--json", **mistaken).documents
    told = ["allow_resident names palete", "allow_network names bar-code", "plugin names ocrr"]
    assert [words.partition(",")[0] for words in shown["mistakes"]] == told
    assert shown["mistakes"][0].endswith("did you mean palette?")
    assert "allow_resident names palete" in cli("doctor", **mistaken).out
    assert cli("doctor", "--json").documents[0]["mistakes"] == []


def test_a_missing_layer_has_errno_and_remedy() -> None:
    """What is off is shown with the errno by name and text, and with what would help."""
    trial = Trial("seccomp", False, "prctl(PR_SET_SECCOMP)", "prctl: no", 1, "use another kernel")
    found = doctor.Examination(Host(Layers(), (trial,)), floor_gaps(Layers()))
    terminal = Terminal()
    with terminal.out.capture() as captured:
        terminal.show(doctor.view(found))
    text = captured.get()
    assert "EPERM: Operation not permitted" in text
    assert "seccomp: use another kernel" in text
    assert "the network is reachable" in text
    assert doctor.document(found)["layers"][0]["errno_name"] == "EPERM"


def test_a_plugin_that_would_be_root_is_no_matter_of_the_operators_word() -> None:
    """It is among what is missing, and degraded mode is not offered as a way out."""
    found = doctor.Examination(Host(Layers(), ()), (), "a plugin would run as root: do this")
    assert doctor.document(found)["floor"] == {
        "met": False,
        "gaps": ["a plugin would run as root: do this"],
    }
    text = "\n".join(line.plain for line in doctor.refusal(found))
    assert "a plugin would run as root" in text
    assert "degraded" not in text


def test_config_shows_where_each_value_came_from(cli: Cli, tmp_path: Path) -> None:
    """File, environment, arguments and defaults are told apart."""
    (tmp_path / "one").mkdir()
    file = tmp_path / "own.toml"
    file.write_text('max_waiting = 7\n[plugin.ocr]\nconfig = { key = "secret" }\n')
    variables = {
        "TOOLRUNNER_CONFIG": str(file),
        "TOOLRUNNER_CAPS": json.dumps({"memory_mb": 64}),
        "TOOLRUNNER_PLUGINS": str(tmp_path),
    }
    ended = cli("config", "--json", "--plugins", "one", "--state", "here", **variables)
    [document] = ended.documents
    rows = {row["setting"]: row for row in document["settings"]}
    assert (rows["max_waiting"]["value"], rows["caps.memory_mb"]["value"]) == (7, 64)
    assert rows["max_waiting"]["source"] == f"{file} line 1"
    assert rows["caps.memory_mb"]["source"] == "environment TOOLRUNNER_CAPS"
    assert rows["state"] == {
        "setting": "state",
        "value": str(tmp_path / "here"),
        "source": "argument",
    }
    assert rows["queue_seconds"]["source"] == "default"
    assert rows["plugins"]["value"] == ["one", str(tmp_path)]
    assert "--plugins" in rows["plugins"]["source"]
    assert (rows["breaker_failures"]["value"], rows["breaker_failures"]["serve"]) == (0, 5)
    assert "serve" not in rows["queue_seconds"]
    assert (document["file"], document["file_is_there"]) == (str(file), True)
    people = cli("config", "show", COLUMNS="500", **variables)
    assert people.out.startswith(f"settings file: {file}\n")
    shown = {line.split()[0]: line.split()[1:] for line in people.out.splitlines() if line.strip()}
    assert shown["breaker_failures"][:5] == ["0;", "of", "a", "server:", "5"]
    assert shown["keep_failures"][0] == "none"
    assert shown["queue_seconds"][0] == "30"
    assert "None" not in people.out
    set_to = cli("config", "--json", TOOLRUNNER_BREAKER_FAILURES="0").documents[0]["settings"]
    assert all("serve" not in row for row in set_to)
    assert "secret" not in people.out + ended.out
    assert "secret" in cli("config", "show", "--reveal", **variables).out


def test_config_names_the_settings_file_that_is_not_there(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So who is told to write something in the settings knows where; a broken one it names too."""
    monkeypatch.delenv("TOOLRUNNER_CONFIG", raising=False)
    home = {"XDG_CONFIG_HOME": str(tmp_path), "COLUMNS": "500"}
    file = tmp_path / "toolrunner/config.toml"
    assert cli("config", **home).out.startswith(f"settings file: {file} (it is not there)\n")
    [document] = cli("config", "--json", **home).documents
    assert (document["file"], document["file_is_there"]) == (str(file), False)
    file.parent.mkdir()
    file.write_text("max_waiting = 7\n")
    assert cli("config", **home).out.startswith(f"settings file: {file}\n")


def test_version_is_one_line(cli: Cli) -> None:
    """--version says what this is, and does nothing else."""
    ended = cli("--version", TOOLRUNNER_NONSENSE="1")
    assert ended.status == 0
    assert ended.out.startswith("toolrunner")
    assert ended.out.count("\n") == 1


def test_every_command_has_help_with_examples(cli: Cli) -> None:
    """--help works on every command without settings, and shows how it is used."""
    commands: list[list[str]] = [
        [], ["analyze"], ["run"], ["plugins", "list"], ["plugins", "show"], ["plugins", "check"],
        ["plugins", "new"], ["config", "show"], ["doctor"],
    ]  # fmt: skip
    for command in commands:
        ended = cli(*command, "--help", TOOLRUNNER_NONSENSE="1")
        assert ended.status == 0
        assert "Examples:" in ended.out
        assert "toolrunner " in ended.out
