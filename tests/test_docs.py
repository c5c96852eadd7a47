"""The documents are true: their commands and code run, and nothing that has a name is missing."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from tests.api.http.test_openapi import OPERATIONS
from tests.conftest import MakeRunner
from toolrunner.api.cli.app import app
from toolrunner.api.cli.starters import image
from toolrunner.api.http.errors import STATUS, HttpError, Reason
from toolrunner.api.metrics.families import COUNTED, SEEN, Kind
from toolrunner.plugins.instance import plugin_at
from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.registry.plugin_state import PluginState
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import LAYER_NAMES
from toolrunner.sandbox.limits import LIMIT_NAMES, Limits

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLUGINS = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
FAST = (ROOT / "docs/fast-plugins.md").read_text(encoding="utf-8")
HTTP = (ROOT / "docs/http.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def examples() -> list[str]:
    """Return README's ``toolrunner`` commands, in order."""
    lines = [line for block in blocks(README, "sh") for line in block.splitlines()]
    return [
        line
        for line in lines
        if line.startswith("toolrunner ") and not line.startswith("toolrunner serve")
    ]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what README's commands name, writable and empty otherwise."""
    shutil.copytree(ROOT / "plugins/bundled/samples", tmp_path / "plugins/bundled/samples")
    return tmp_path


def test_readmes_commands_run_as_written(clone: Path) -> None:
    """Every command line of README that begins with toolrunner, one after the other."""
    commands = examples()
    assert len(commands) >= 8
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in commands:
        done = subprocess.run(
            command,
            shell=True,
            cwd=clone,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert done.stdout.strip()


def test_readmes_requests_run_as_written(clone: Path) -> None:
    """Against a server that runs: analyze, a job, its events and its result."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["toolrunner", "--state", str(clone / "state"), "serve", "--port", "0"]
    with subprocess.Popen(
        command, cwd=clone, env=environment, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        log = iter(server.stderr.readline, "")
        address = next(
            found[1] for line in log if (found := re.search(r"listening on http://(\S+)", line))
        )
        requests = [block for block in blocks(README, "sh") if "curl" in block]
        script = "set -e\n" + "".join(requests).replace("127.0.0.1:8000", address)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=clone,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        server.terminate()
        rest = "".join(log)
    assert done.returncode == 0, done.stderr + rest
    assert server.returncode == 0, rest
    assert done.stdout.count('"plugin":"barcode"') == 2, done.stdout + done.stderr
    assert '"plugin":"text-stats"' in done.stdout
    assert 'data: {"status": "SUCCESS"}' in done.stdout
    assert "blame" not in done.stdout


def test_readmes_python_runs_as_written(clone: Path) -> None:
    """The example plugin and the example that calls it."""
    plugin, program = blocks(README, "python")
    (clone / "shout.py").write_text(plugin)
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "ValidationError"


SOURCES = [*blocks(PLUGINS, "python"), *blocks(FAST, "python"), blocks(README, "python")[0]]


@pytest.mark.parametrize("source", SOURCES, ids=range(len(SOURCES)))
def test_every_plugin_of_the_documents_works(clone: Path, source: str) -> None:
    """Those of the authors' guides and README's pass the check that the guide recommends."""
    (clone / "plugin.py").write_text(source)
    command = [str(Path(sys.executable).parent / "toolrunner"), "plugins", "check", "plugin.py"]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


OF_PICTURES = [
    *(source for source in SOURCES if 'payload["image"]' in source),
    image.PLUGIN,
]


@pytest.mark.parametrize("source", OF_PICTURES, ids=range(len(OF_PICTURES)))
def test_plugins_to_begin_with_blame_the_caller_for_a_damaged_picture(
    tmp_path: Path, make_runner: MakeRunner, source: str
) -> None:
    """Not themselves: as the bundled ones do, whatever it is that is damaged."""
    tmp_path.chmod(0o755)
    plugin = tmp_path / "plugin.py"
    plugin.write_text(source)
    tool_runner, name = make_runner(plugin), plugin_at(plugin, "a test").manifest.name
    picture = Image.radial_gradient("L")
    for kind in ("PNG", "JPEG"):
        file = io.BytesIO()
        picture.save(file, kind)
        whole = file.getvalue()
        for length in (0, 20, len(whole) // 2):
            payload = {"image": whole[:length] or b"junk", "mime_type": f"image/{kind.lower()}"}
            _, error = tool_runner.run(name, payload)
            assert error is not None
            assert error["error"]["type"] == "ValidationError", error


def test_the_folder_plugin_of_the_documents_needs_what_it_says(tmp_path: Path) -> None:
    """Its toolrunner.toml is read as it stands there."""
    text = (ROOT / "docs/environments.md").read_text(encoding="utf-8")
    (tmp_path / "toolrunner.toml").write_text(blocks(text, "toml")[0])
    (tmp_path / "main.py").write_text("def run(payload):\n    return {}\n")
    manifest = plugin_at(tmp_path, "a test").manifest
    assert manifest.name == "edge-detector"
    assert manifest.dependencies == ("scikit-image>=0.24",)
    assert manifest.requires_python == ">=3.11"


def test_readmes_settings_file_is_valid(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of a configuration file is accepted as it stands."""
    (text,) = blocks(README, "toml")
    tomllib.loads(text)
    (clone / "config.toml").write_text(text)
    monkeypatch.setenv("TOOLRUNNER_CONFIG", str(clone / "config.toml"))
    settings = Settings.load()
    assert settings.caps["memory_mb"] == 1024
    assert settings.plugin["ocr"].config == {"language": "en"}


@pytest.mark.parametrize("name", [t.value for t in ErrorType])
def test_every_error_type_is_documented(name: str) -> None:
    """In README's table and in the authors' guide."""
    assert f"`{name}`" in README
    assert f"`{name}`" in PLUGINS


@pytest.mark.parametrize("name", LIMIT_NAMES)
def test_every_limit_is_documented_with_its_default(name: str) -> None:
    """Name and default, as the code has them."""
    default = getattr(Limits(), name)
    assert f"| `{name}` | {default:g} |" in PLUGINS


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_documented(name: str) -> None:
    """In README's table."""
    assert f"| `{name}` |" in README


@pytest.mark.parametrize("name", sorted(set(Manifest.model_fields) - {"entry"}))
def test_every_key_of_a_manifest_is_documented(name: str) -> None:
    """In the authors' guide."""
    name = name.replace("_", "-") if name == "requires_python" else name
    assert f"`{name}`" in PLUGINS


@pytest.mark.parametrize("name", HttpError)
def test_every_error_over_http_is_documented(name: str) -> None:
    """With its status, in the table of the API's guide."""
    row = f"| {STATUS[name]} | "
    [line] = [line for line in HTTP.splitlines() if line.startswith(row)]
    assert f"`{name}`" in line


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_route_is_documented(operation: str) -> None:
    """In the table of the API's guide."""
    route = operation.replace("{job_id}", "{id}")
    assert f"| `{route}` |" in HTTP


@pytest.mark.parametrize("name", LAYER_NAMES)
def test_every_layer_is_documented(name: str) -> None:
    """In the theory of operation."""
    assert f"`{name}`" in ARCHITECTURE


@pytest.mark.parametrize("state", [s.value for s in PluginState])
def test_every_state_is_documented(state: str) -> None:
    """In the authors' guide."""
    assert f"`{state}`" in PLUGINS


def test_what_the_page_for_the_night_names_is_there() -> None:
    """Figures, settings, reasons and commands with their options."""
    page = (ROOT / "docs/at-night.md").read_text(encoding="utf-8")
    figures = {f"{one.name}{'_total' * (one.kind is Kind.COUNTER)}" for one in (*COUNTED, *SEEN)}
    assert set(re.findall(r"`(toolrunner_\w+)`", page)) <= figures
    for reason in Reason:
        assert f"`{reason}`" in page
    settings = {*Settings.model_fields, *LIMIT_NAMES, "waiting_for", "available_on"}
    settings |= {"max_connections"}  # PostgreSQL's
    assert set(re.findall(r"`([a-z]+_[a-z_]+)`", page)) - figures <= settings
    root = typer.main.get_command(app)
    commands = [found.split() for found in re.findall(r"`toolrunner ([^`]+)`", page)]
    assert len(commands) > 5
    for words in commands:
        command: Any = root
        options = {name for one in command.params for name in one.opts}
        for word in words:
            if word.startswith("--"):
                assert word in options, words
            elif word in getattr(command, "commands", {}):
                command = command.commands[word]
                options |= {name for one in command.params for name in one.opts}
            else:
                assert word.isupper(), words


def test_links_between_documents_lead_somewhere() -> None:
    """Every relative link is a file that exists."""
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "docs/architecture.md",
        "docs/security.md",
        "docs/command-line.md",
        "docs/plugins.md",
        "docs/examples.md",
        "docs/fast-plugins.md",
        "docs/environments.md",
        "docs/any-language.md",
        "docs/agents.md",
        "docs/at-night.md",
    ):
        path = ROOT / name
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (path.parent / target).exists(), f"{name}: {target}"
