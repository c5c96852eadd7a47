"""What the command line says of plugins' environments; nothing of it reaches the network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import environments
from tests.api.conftest import Cli, common_environment
from tests.conftest import WritePlugin
from tests.unsharing import unshared
from tests.wheels import write_wheel

BODY = "import tiny\ndef run(payload): return {'version': tiny.VERSION}\n"
TWO = {
    "tiny 1.0": {"tiny.py": "VERSION = '1.0'\n"},
    "Other_Thing 2!1.0+local": {"other.py": "", "other_thing.dist-info/METADATA": ""},
}


@pytest.fixture
def plugin(write_plugin: WritePlugin, tmp_path: Path) -> Path:
    """A plugin whose environment is not installed; those are looked for in ``tmp_path/state``."""
    assert tmp_path.exists()
    return write_plugin(BODY, dependencies='["tiny>=0.24"]')


def test_a_plugin_without_its_environment_says_how_to_install_it(
    cli: Cli, plugin: Path, tmp_path: Path
) -> None:
    """In every list, when it is called, and when it is checked."""
    state = tmp_path / "state"
    options = ("--plugins", plugin, "--state", state)
    install = f"toolrunner plugins install --state {state} {plugin}"
    words = f"PackageNotFoundError: needs tiny>=0.24, which is not installed: {install}"
    for columns in ("200", "60"):
        for asked in (("plugins",), ("plugins", "show", "sample")):
            text = cli(*options, *asked, COLUMNS=columns).out
            assert f"\n  {install}\n" in text
            assert words.partition(": toolrunner")[0] in " ".join(text.split()) or columns == "60"
        ended = cli(*options, "run", "sample", "--payload", "{}", COLUMNS=columns)
        assert f"\n  what to do: {install}\n" in ended.err
        ended = cli("--state", state, "plugins", "check", plugin, COLUMNS=columns)
        assert f"\n    what to do: {install}\n" in ended.out
    [listed] = cli(*options, "plugins", "--json").documents
    [shown] = [one for one in listed if one["name"] == "sample"]
    assert (shown["state"], shown["environment"], shown["reason"]) == ("UNAVAILABLE", "", words)
    [shown] = cli(*options, "plugins", "show", "sample", "--json").documents
    assert (shown["state"], shown["reason"], shown["dependencies"]) == (
        "UNAVAILABLE", words, ["tiny>=0.24"],
    )  # fmt: skip
    called = cli(*options, "run", "sample", "--payload", "{}", "--json")
    assert (called.status, called.error["type"]) == (1, "PluginUnavailable")
    assert called.error["message"].endswith(words)
    told = cli(*options, "run", "sample", "--payload", "{}")
    assert "sample: PluginUnavailable (what it needs is not installed here)" in told.out + told.err
    sbom = cli(*options, "plugins", "show", "sample", "--sbom")
    assert sbom.status == 2
    assert words in sbom.err
    checked = cli("--state", tmp_path / "state", "plugins", "check", plugin, "--json")
    [report] = checked.documents
    [failed] = [step for step in report["steps"] if not step["ok"]]
    assert (checked.status, failed["name"]) == (1, "requirements")
    assert failed["detail"] == words.partition(": toolrunner")[0]
    assert failed["advice"] == install


def test_an_installed_environment_is_shown_with_what_it_holds(
    cli: Cli, plugin: Path, tmp_path: Path
) -> None:
    """Versions and sizes; the plugin runs, and its check does."""
    state = tmp_path / "state"
    folder = environments.install(state, plugin, packages=TWO)
    options = ("--plugins", plugin, "--state", state)
    [listed] = cli(*options, "plugins", "--json").documents
    found = {one["name"]: one["environment"] for one in listed}
    assert (found["sample"], found["palette"]) == ("own", "runner")
    [shown] = cli(*options, "plugins", "show", "sample", "--json").documents
    assert (shown["environment"], shown["environment_path"]) == ("own", str(folder))
    assert shown["packages"][0] == {"name": "tiny", "version": "1.0", "bytes": 100}
    assert shown["start"]["mode"] == "warm"
    people = " ".join(cli(*options, "plugins", "show", "sample", COLUMNS="200").out.split())
    assert f"own: Python {shown['python']} ({shown['interpreter']}), 2 packages, 0.0 MiB" in people
    assert "Other_Thing 2!1.0+local" in people
    called = cli(*options, "run", "sample", "--payload", "{}", "--json")
    assert called.documents[0]["result"] == {"version": "1.0"}
    [report] = cli("--state", state, "plugins", "check", plugin, "--json").documents
    assert report["ok"], report
    [step] = [step for step in report["steps"] if step["name"] == "requirements"]
    assert step["detail"] == "tiny>=0.24 (in its own environment)"


def test_the_bill_of_materials_is_cyclonedx(cli: Cli, plugin: Path, tmp_path: Path) -> None:
    """One JSON document, the same each time, with every package by its purl."""
    state = tmp_path / "state"
    environments.install(state, plugin, packages=TWO)
    options = ("--plugins", plugin, "--state", state, "plugins", "show", "sample", "--sbom")
    first, again = cli(*options).out, cli(*options).out
    assert first == again
    bill = json.loads(first)
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert bill["metadata"]["component"]["name"] == "sample"
    purls = [component["purl"] for component in bill["components"]]
    assert purls == ["pkg:pypi/other-thing@2%211.0%2Blocal", "pkg:pypi/tiny@1.0"]
    assert bill["components"][1]["licenses"] == [{"expression": "MIT"}]
    assert bill["dependencies"][0] == {"ref": "plugin", "dependsOn": purls}
    assert {one["type"] for one in bill["components"]} == {"library"}


def test_a_plugin_that_uses_the_runners_packages_has_no_bill_of_its_own(cli: Cli) -> None:
    """The runner's packages are the operator's to tell of."""
    ended = cli("plugins", "show", "palette", "--sbom")
    assert (ended.status, ended.out) == (2, "")
    assert "it has no environment" in ended.err


# Runs the command line, and writes down each connection, look-up and program of its processes.
OBSERVED = """
import json, os, sys
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def observe(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}:
        os.write(log, (json.dumps([event, repr(arguments)]) + "\\n").encode())
    elif event == "subprocess.Popen":
        os.write(log, (json.dumps([event, *map(str, arguments[1])]) + "\\n").encode())
sys.addaudithook(observe)
sys.argv[:2] = ["toolrunner"]
from toolrunner.api.cli.main import main
sys.exit(main())
"""


def observed(log: Path, environment: dict[str, str], *arguments: object) -> list[list[str]]:
    """Run a command; return what it did that could have to do with a network."""
    command = [sys.executable, "-P", "-c", OBSERVED, log, *arguments]
    subprocess.run([*map(str, command)], env=environment, capture_output=True, check=False)
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.parametrize("is_installed", [False, True])
def test_nothing_but_an_installation_reaches_the_network(
    plugin: Path, tmp_path: Path, environment: dict[str, str], *, is_installed: bool
) -> None:
    """No name is looked up, nothing is connected to, and no program runs but an interpreter."""
    state, log = tmp_path / "state", tmp_path / "log"
    log.touch()
    if is_installed:
        environments.install(state, plugin)
    for words in (
        ("plugins",), ("plugins", "show", "sample"), ("plugins", "show", "sample", "--sbom"),
        ("run", "sample", "--payload", "{}"), ("plugins", "check", str(plugin)),
    ):  # fmt: skip
        found = observed(log, environment, "--plugins", plugin, "--state", state, *words)
    assert [event for event in found if event[0] != "subprocess.Popen"] == []
    interpreters = {sys.executable, os.path.realpath(sys.executable)}
    assert {event[1] for event in found} <= interpreters
    assert bool(found) == is_installed


def test_a_hundred_plugins_in_twenty_environments_are_listed_at_once(
    cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """Each has its own state, and those that ask for the same have one folder."""
    state = tmp_path / "state"
    paths = []
    for number in range(100):
        path = write_plugin(
            BODY, name=f"p-{number}", dependencies=f'["tiny=={number % 20}", "thing>={number}"]'
        )
        paths.append(path)
        environments.install(state, path, packages={f"tiny {number % 20}": {"tiny.py": ""}})
    folders = [one for one in (state / "environments").iterdir() if len(one.name) == 64]
    assert len(folders) == 20
    began = time.monotonic()
    [listed] = cli("--plugins", tmp_path, "--state", state, "plugins", "--json").documents
    print(f"took {time.monotonic() - began:.2f} s")
    own: list[dict[str, Any]] = [one for one in listed if one["environment"] == "own"]
    assert len(own) == 100


def test_a_lock_that_cannot_be_read_is_its_own_plugins_matter(
    cli: Cli, plugin: Path, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    """Others are installed all the same."""
    write_wheel(tmp_path / "wheels", "tiny")
    other = write_plugin("def run(payload): return {}\n", name="aaa", dependencies='["tiny"]')
    os.mkfifo(other.with_name(other.name + ".lock"))
    options = ("--plugins", plugin.parent, "--state", tmp_path / "state", "--json")
    places = ("--offline", "--find-links", tmp_path / "wheels")
    ended = cli(*options, "plugins", "install", *places, UV_NO_CONFIG="1")
    assert ended.status == 1
    assert {one.get("plugin"): one.get("how") for one in ended.documents}["sample"] == "made"
    assert "the lock of aaa cannot be read" in ended.out + ended.err


@pytest.mark.parametrize("is_installed", [True, False], ids=["installed", "missing"])
def test_nothing_but_an_install_needs_a_network(
    is_installed: bool, plugin: Path, tmp_path: Path
) -> None:
    """List, show, a call and a server say and do all that they would with one."""
    if is_installed:
        environments.install(tmp_path / "state", plugin)
    script = Path(__file__).with_name("without_network.py")
    done = subprocess.run(
        [*unshared("net"), sys.executable, "-P", script, plugin, tmp_path / "state"],
        capture_output=True,
        text=True,
        check=False,
        env=common_environment(),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["devices"] == ["lo"]
    state = "LOADED" if is_installed else "UNAVAILABLE"
    assert (found["list"], found["show"], found["serve"]["state"]) == ([state], state, state)
    called = found["run"], found["serve"]["call"]
    if is_installed:
        assert [one["result"] for one in called] == [{"version": "1.0"}] * 2
    else:
        assert called[0]["error"]["type"] == called[1]["detail"]["type"] == "PluginUnavailable"
