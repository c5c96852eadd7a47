"""``plugins install``, ``lock`` and ``prune``, as they are typed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import WritePlugin
from tests.faults.host.test_scarce import ROOT
from tests.wheels import write_needy, write_sources, write_wheel
from toolrunner.runner.registry.registry import PluginRegistry
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.tool_runner import ToolRunner

Run = Callable[..., subprocess.CompletedProcess[str]]

FOLDER = """
dependencies = ["beta"]
[tool.toolrunner]
name = "needy-one"
input = "json"
entry = "main:run"
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs the command on a state folder of its own, without a network."""

    def command(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "UV_NO_CONFIG": "1", "UV_OFFLINE": "1", **variables}
        environment["TOOLRUNNER_STATE"] = str(tmp_path / "state")
        return subprocess.run(
            [sys.executable, "-P", "-m", "toolrunner", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=environment,
        )

    return command


@pytest.fixture
def links(open_folder: Path) -> tuple[str, ...]:
    """The options that lead to a folder with alpha, beta and nothing else."""
    folder = open_folder / "wheels"
    write_wheel(folder, "alpha", requires=["beta"])
    write_wheel(folder, "beta")
    write_sources(folder, "gamma", "return {'gamma.py': ''}")
    return "--offline", "--find-links", str(folder)


def test_a_plugin_at_a_path(run: Run, tmp_path: Path, links: tuple[str, ...]) -> None:
    """Is installed, once, with words on stderr and the result on stdout."""
    plugin = write_needy(tmp_path, "alpha")
    done = run("plugins", "install", plugin, *links)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("needy: installed 2 packages, ")
    assert "needy: resolving" in done.stderr
    assert "needy: installing 2 packages" in done.stderr
    assert "needy: compiling what is installed\n" in done.stderr
    again = run("plugins", "install", plugin, *links)
    assert again.stdout.startswith("needy: installed already, 2 packages")


def test_all_plugins_that_need_something(run: Run, tmp_path: Path, links: tuple[str, ...]) -> None:
    """Without arguments; one that fails keeps no other from it, and decides the status."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    write_needy(folder, "alpha", name="first")
    write_needy(folder, "nothing-like-that", name="second")
    write_needy(folder, "beta", name="third")
    write_needy(folder, name="needs-nothing")
    done = run("--plugins", folder, "--json", "plugins", "install", *links)
    assert done.returncode == 3
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one.get("plugin") for one in documents] == ["first", None, "third"]
    assert [one["how"] for one in documents if "plugin" in one] == ["made", "made"]
    packages = documents[0]["environment"]["packages"]
    assert [(one["name"], one["version"]) for one in packages] == [
        ("alpha", "1.0"),
        ("beta", "1.0"),
    ]
    error = documents[1]["error"]
    assert (error["type"], error["plugin"]) == ("SandboxError", "second")
    assert "nothing-like-that was not found" in error["message"]


def test_a_plugin_by_its_name(run: Run, tmp_path: Path, links: tuple[str, ...]) -> None:
    """As the registry knows it; what needs nothing says so; what is unknown is the caller's."""
    plugin = write_needy(tmp_path, "beta")
    done = run("--plugins", plugin, "plugins", "install", "needy", "text-stats", *links)
    assert done.returncode == 0, done.stderr
    assert "needy: installed 1 package, " in done.stdout
    assert "text-stats: needs nothing" in done.stdout
    assert "needy: installing 1 package\n" in done.stderr
    unknown = run("plugins", "install", "needyy")
    assert unknown.returncode == 2
    assert "there is no plugin needyy" in unknown.stderr
    assert "named by its path: toolrunner plugins install PATH" in unknown.stderr
    assert "by their paths: toolrunner plugins install PATH" in run("plugins", "install").stderr


@pytest.mark.parametrize("kind", ["file", "folder", "in a folder"])
def test_the_command_that_a_message_names_works_as_it_stands(
    kind: str, run: Run, tmp_path: Path, links: tuple[str, ...]
) -> None:
    """For a plugin that is known by --plugins alone, from any folder; spaces are quoted."""
    folder = tmp_path / "my plugins"
    folder.mkdir()
    path = write_needy(folder, "beta", name="needy-one")
    if kind == "folder":
        path = folder / "needy"
        path.mkdir()
        (path / "toolrunner.toml").write_text(FOLDER)
        (path / "main.py").write_text("def run(payload): return {}\n")
    given = folder if kind == "in a folder" else path
    options = ("--plugins", given, "--state", tmp_path / "a state")
    said = json.loads(run(*options, "run", "needy-one", "--payload", "{}", "--json").stdout)
    command = said["error"]["message"].rpartition(": ")[2]
    assert command.startswith("toolrunner plugins install ")
    pasted = subprocess.run(
        f"{command} {shlex.join(links)}",
        shell=True,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "UV_NO_CONFIG": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
    )
    assert pasted.returncode == 0, pasted.stderr
    assert run(*options, "run", "needy-one", "--payload", "{}").returncode == 0


def test_nothing_is_installed_for_a_plugin_with_the_runners_packages(
    run: Run, tmp_path: Path, links: tuple[str, ...], write_plugin: WritePlugin
) -> None:
    """Neither by its path nor by its name, and nothing is locked; the caller hears why."""
    plugin = write_plugin(
        "def run(payload): return {}\n", dependencies='["alpha"]', environment='"runner"'
    )
    for words in (("install", plugin), ("install", "sample"), ("lock", plugin)):
        done = run("--plugins", plugin, "plugins", *words, *links)
        assert done.returncode == 2, done.stdout
        assert 'sample says environment = "runner": nothing is installed or locked' in done.stderr
    assert not plugin.with_name(f"{plugin.name}.lock").exists()
    assert [*(tmp_path / "state/environments/wanted").iterdir()] == []


def test_a_plugin_that_needs_nothing_needs_no_uv(run: Run, tmp_path: Path) -> None:
    """There is nothing to do, and it says so; what needs something says how to get uv."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "uv.py").write_text("raise ImportError('not here')\n")
    plugin = write_needy(tmp_path, name="plain")
    for json_option, said in (
        ((), "plain: needs nothing\n"),
        (("--json",), '{"plugin": "plain", "environment": null, "how": null}'),
    ):
        done = run(*json_option, "plugins", "install", plugin, PYTHONPATH=str(hidden))
        assert done.returncode == 0, done.stderr
        assert done.stdout.replace('":"', '": "').strip() == said.strip()
    needy = run("plugins", "install", write_needy(tmp_path, "alpha"), PYTHONPATH=str(hidden))
    assert needy.returncode == 3
    assert 'pip install ".[environments]"' in needy.stderr


def test_a_broken_manifest_keeps_no_other_from_being_installed(
    run: Run, tmp_path: Path, links: tuple[str, ...]
) -> None:
    """Of a folder's, each broken one is told of by its name; they decide the status."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    write_needy(folder, "alpha", name="sound")
    write_needy(folder, "alpha>>2", name="bad")
    worse = write_needy(folder, name="worse")
    worse.write_text(worse.read_text().replace("dependencies = []", 'environment = "mine"'))
    done = run("plugins", "install", folder, *links)
    assert done.returncode == 1
    assert "sound: installed 2 packages" in done.stdout
    for name in ("bad", "worse"):
        assert f"{name}: PluginUnavailable" in done.stderr
    alone = run("plugins", "install", worse, *links)
    assert alone.returncode == 2
    assert "ManifestError" in alone.stderr


def test_a_plugin_of_an_installed_distribution(
    run: Run, links: tuple[str, ...], open_folder: Path
) -> None:
    """What it needs stands in the toolrunner.toml that it ships."""
    wheel = write_wheel(
        open_folder,
        "offering",
        files={
            "offering/__init__.py": "",
            "offering/main.py": "import alpha\ndef run(payload): return {'alpha': alpha.VERSION}\n",
            "offering/toolrunner.toml": 'dependencies = ["alpha"]\n[tool.toolrunner]\n'
            'name = "offered"\nentry = "main:run"\ninput = "json"\n',
            "offering-1.0.dist-info/entry_points.txt": "[toolrunner.plugins]\n"
            "offered = offering.main:run\n",
        },
    )
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(open_folder / "site")
    here = {"PYTHONPATH": str(open_folder / "site"), "TOOLRUNNER_ALLOW_INSTALLED": "offering"}
    done = run("plugins", "install", *links, **here)
    assert done.returncode == 0, done.stderr
    assert "offered: installed 2 packages, " in done.stdout
    called = run("run", "offered", "--payload", "{}", "--json", **here)
    assert json.loads(called.stdout)["result"] == {"alpha": "1.0"}


def test_builds_only_where_they_are_allowed(
    run: Run, tmp_path: Path, links: tuple[str, ...]
) -> None:
    """The error names the option."""
    plugin = write_needy(tmp_path, "gamma")
    done = run("plugins", "install", plugin, *links)
    assert done.returncode == 1
    assert "--allow-builds" in done.stderr
    assert done.stderr.count("No solution found") == 1, "uv's words stand there once"
    assert "call " not in done.stderr, "there is none"
    done = run("plugins", "install", plugin, *links, "--allow-builds")
    assert done.returncode == 0, done.stderr


def test_a_lock_is_written_beside_the_plugin(
    run: Run, tmp_path: Path, links: tuple[str, ...]
) -> None:
    """Its path is the result."""
    plugin = write_needy(tmp_path, "alpha")
    done = run("plugins", "lock", plugin, *links)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{plugin}.lock"
    command = f"toolrunner plugins install --state {tmp_path / 'state'} {plugin}"
    said = f"needy: install what it pins before the next call: {command}\n"
    assert said in done.stderr
    run("plugins", "install", plugin, *links)
    assert said not in run("plugins", "lock", plugin, *links).stderr
    assert 'name = "beta"' in Path(f"{plugin}.lock").read_text()
    assert run("plugins", "lock", tmp_path / "missing.py").returncode == 2


def test_prune_removes_what_no_plugin_needs(
    run: Run, tmp_path: Path, links: tuple[str, ...]
) -> None:
    """Of those that are known to this command."""
    plugin = write_needy(tmp_path, "alpha")
    run("plugins", "install", plugin, *links)
    kept = run("--plugins", plugin, "--json", "plugins", "prune")
    assert json.loads(kept.stdout)["removed"] == []
    done = run("plugins", "prune", "--cache")
    assert done.stdout.startswith("Removed 1 environment, ")
    assert ", and what was fetched, 0." in done.stdout
    assert f"{plugin} has none any more" in done.stderr
    assert "--plugins" in done.stderr


def test_prune_leaves_a_server_what_it_uses(
    run: Run, tmp_path: Path, links: tuple[str, ...]
) -> None:
    """Even if it is not told of the server's plugins; and says what that means."""
    plugin = write_needy(tmp_path, "alpha")
    run("plugins", "install", plugin, *links)
    settings = Settings(state=tmp_path / "state")
    registry = PluginRegistry.discover([plugin], settings=settings)
    with ToolRunner(registry, settings=settings) as server:
        assert server.run("needy", {})[1] is None
        done = run("plugins", "prune")
        assert done.stdout.startswith("Removed 0 environments")
        assert "1 environment that no plugin known here needs" in done.stderr
        assert "--plugins" in done.stderr
        assert server.run("needy", {})[1] is None


# Runs commands, and says what of theirs reaches out: for an address, or for uv.
_WATCHED = """
import sys
from toolrunner.api.cli.app import app

def watch(event, arguments):
    if event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        print("REACHED", event)
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        print("REACHED", arguments[1])
    if event == "subprocess.Popen" and str(arguments[0]).endswith("/uv"):
        print("REACHED uv")

sys.addaudithook(watch)
for line in sys.argv[2:]:
    try:
        app(["--plugins", sys.argv[1], *line.split(" ")], prog_name="toolrunner")
    except SystemExit as end:
        print(line, end.code)
"""


def test_nothing_but_installs_reaches_for_a_network(
    run: Run, tmp_path: Path, links: tuple[str, ...]
) -> None:
    """Neither where an environment is there nor where one is missing."""
    plugin = write_needy(tmp_path, "alpha")
    lines = ["plugins list", "plugins show needy", "run needy --payload {}"]
    environment = {**os.environ, "TOOLRUNNER_STATE": str(tmp_path / "state")}
    for status in (1, 0):
        command = [sys.executable, "-P", "-c", _WATCHED, str(plugin), *lines]
        said = subprocess.check_output(command, text=True, cwd=ROOT, env=environment)
        assert "REACHED" not in said
        assert f"run needy --payload {{}} {status}" in said
        run("plugins", "install", plugin, *links)


def test_a_folder_that_is_not_there_is_the_callers_mistake(run: Run, tmp_path: Path) -> None:
    """Status 2."""
    plugin = write_needy(tmp_path, "alpha")
    done = run("plugins", "install", plugin, "--find-links", tmp_path / "nowhere")
    assert done.returncode == 2
    assert "there is no such folder" in done.stderr


# Does at its first import what libraries do: looks long, and writes down what it has found.
CACHING = """
    import os
    place = os.path.expanduser("~/.cache/caching/found")
    FOUND = os.path.exists(place)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    open(place, "w").close()
"""
USES = """
import caching
def run(payload): return {"found": caching.FOUND, "where": caching.__file__}
"""


def test_what_was_installed_is_used_by_the_next_call(
    run: Run, write_plugin: WritePlugin, open_folder: Path, tmp_path: Path
) -> None:
    """By an import that finds what its first one has left: the plugin is loaded by the install."""
    folder = open_folder / "wheels"
    write_wheel(folder, "caching", files={"caching.py": textwrap.dedent(CACHING)})
    plugin = write_plugin(USES, dependencies='["caching"]')
    options = ("--plugins", plugin)
    listed = run(*options, "plugins", "--json").stdout
    state = tmp_path / "state"
    assert f"toolrunner plugins install --state {state} {plugin}" in listed
    done = run(*options, "plugins", "install", "sample", "--offline", "--find-links", folder)
    assert done.returncode == 0, done.stderr
    assert "sample: loading it once" in done.stderr
    called = run(*options, "run", "sample", "--payload", "{}", "--json")
    result = json.loads(called.stdout)["result"]
    assert result["found"]
    assert result["where"].startswith(str(tmp_path / "state/environments"))
    prune = run("--plugins", folder, "plugins", "prune")
    assert prune.returncode == 0, prune.stderr
    called = run(*options, "run", "sample", "--payload", "{}", "--json")
    assert json.loads(called.stdout)["error"]["type"] == "PluginUnavailable"


def test_a_plugin_that_cannot_be_loaded_is_installed_all_the_same(
    run: Run, write_plugin: WritePlugin, links: tuple[str, ...]
) -> None:
    """What it lacks its author has to say; the installer says that it lacks something."""
    plugin = write_plugin(
        "import alpha, not_there\ndef run(payload): return {}\n", dependencies='["alpha"]'
    )
    done = run("plugins", "install", plugin, *links)
    assert done.returncode == 0, done.stderr
    assert "sample: it cannot be loaded: " in done.stderr
    assert "not_there" in done.stderr
