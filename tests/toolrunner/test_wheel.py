"""The wheel as a user meets it: built, installed, run among other people's packages."""

from __future__ import annotations

import json
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.clients_environment import tool_in
from tests.test_docs import README, blocks

ROOT = Path(__file__).parents[2]
FOLDERS = ("api", "plugins", "runner", "sandbox")
PROJECTS = Path(__file__).parent / "pytest_projects"
PHOTO = ROOT / "plugins/bundled/samples/coffee-label.jpg"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy of the sources."""
    sources = tmp_path_factory.mktemp("sources")
    for name in ("toolrunner", *FOLDERS, "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, sources / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(source, sources / name)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-P", "-m", "build", "--wheel", "--no-isolation"]
    command += ["--outdir", str(out), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it, and the libraries of this one."""
    home = tmp_path_factory.mktemp("environment")
    run = [sys.executable, "-m", "venv", "--without-pip", str(home)]
    subprocess.run(run, check=True, capture_output=True)
    python = home / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    command += ["--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (packages,) = home.glob("lib/python3*/site-packages")
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()))
    return home


@pytest.fixture
def others_folder(tmp_path: Path) -> Path:
    """An application with packages and a module of all our folders' names."""
    for name in ("api", "plugins", "sandbox"):
        package = tmp_path / name
        package.mkdir()
        (package / "__init__.py").write_text(f"OWNER = {name!r}\n")
    (tmp_path / "runner.py").write_text("OWNER = 'runner'\n")
    return tmp_path


APPLICATION = """
import api, plugins, runner, sandbox
from toolrunner import Call, PluginRegistry, ToolRunner

call = Call()
with ToolRunner(PluginRegistry.discover()) as tool_runner:
    result, error = tool_runner.run("text-stats", {"text": "Two words."}, call=call)
    if error is None:
        print(result["words"], api.OWNER, plugins.OWNER, runner.OWNER, sandbox.OWNER)
"""


CALLER = """
from toolrunner import PluginRegistry, ToolRunner
from toolrunner.runner.envelope import Envelope


def words_of(registry: PluginRegistry, text: str) -> int:
    with ToolRunner(registry) as tool_runner:
        result, error = tool_runner.run("text-stats", {"text": text})
    if error is None:
        words: int = result["words"]
        return words + registry.get_status("text-stats").success_count
    raise RuntimeError(told(error))


def told(envelope: Envelope) -> str:
    error = envelope["error"]
    details = error["details"]
    if "limit" in details:
        return f"{details['limit']['name']}: {details['limit']['configured'] * 2}"
    lines: list[str] = envelope["_internal"]["traceback"].splitlines()
    seconds = details["usage"]["wall_ms"] / 1000
    layers = ", ".join(details["isolation"]["layers"])
    return f"{error['type'].lower()} {seconds} {details['blame'].title()} {layers} {lines}"


def mistaken(envelope: Envelope) -> object:
    return envelope["error"]["detail"]  # type: ignore[typeddict-item]  # mypy has to see it


print(words_of(PluginRegistry.discover(), "Two words."))
"""


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that has to succeed in an application's folder."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_wheel_holds_one_package_and_no_tests(wheel: Path) -> None:
    """Typed, with all of the folders, the bundled plugins, their sample and the attacks."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "toolrunner",
        "toolrunner_sandbox-0.1.0.dist-info",
    }
    shipped = {name.removeprefix("toolrunner/") for name in names}
    for folder in FOLDERS:
        sources = [path for path in (ROOT / folder).rglob("*.py") if path.parts[-2] != "samples"]
        assert {str(path.relative_to(ROOT)) for path in sources} <= shipped
    files = [*(ROOT / "api/page").rglob("*.*"), PHOTO]
    assert {str(path.relative_to(ROOT)) for path in files if path.suffix != ".pyc"} <= shipped
    assert {"py.typed", "api/page/static/vendor/swagger-ui/LICENSE"} <= shipped


def test_the_command_works_among_other_peoples_packages(
    installed: Path, others_folder: Path
) -> None:
    """The console script finds its own packages, whatever lies in the working directory."""
    command = [str(installed / "bin" / "toolrunner"), "--json", "analyze", "barcode", str(PHOTO)]
    done = run(command, others_folder)
    assert json.loads(done.stdout)["result"]["count"] >= 1


def test_the_attacks_are_shipped(installed: Path, others_folder: Path) -> None:
    """An installed command can attack its host."""
    command = [str(installed / "bin" / "toolrunner"), "doctor", "--attack", "--json"]
    command += ["--only", "tree/daemon", "--only", "escape/secrets"]
    done = run(command, others_folder)
    assert [case["outcome"] for case in json.loads(done.stdout)["cases"]] == ["contained"] * 2


def test_authors_get_the_fixture_with_the_wheel(installed: Path, tmp_path: Path) -> None:
    """Among folders of our packages' names, by the entry point that the wheel brings."""
    project = shutil.copytree(PROJECTS / "shadowing", tmp_path / "project")
    command = [str(installed / "bin" / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    assert "2 passed" in run(command, project).stdout


def test_an_application_embeds_it_and_type_checks(installed: Path, others_folder: Path) -> None:
    """Its own modules and ours are found side by side, at run time, by mypy and by pyright.

    So is README's example, and what callers touch first has types.
    """
    python = str(installed / "bin" / "python")
    (others_folder / "main.py").write_text(APPLICATION)
    (others_folder / "caller.py").write_text(CALLER)
    assert run([python, "main.py"], others_folder).stdout == "2 api plugins runner sandbox\n"
    assert run([python, "caller.py"], others_folder).stdout == "3\n"
    _plugin, example = blocks(README, "python")
    (others_folder / "readme.py").write_text(example)
    command = [sys.executable, "-P", "-m", "mypy", "--strict", "--cache-dir=/dev/null"]
    run([*command, "--python-executable", python, "."], others_folder)
    pyright = tool_in(others_folder)
    pyright("pyright", "--pythonpath", python, "main.py", "caller.py", "readme.py")


PAGE = """
from toolrunner.api.page import rendering, static_files

files = static_files.StaticFiles()
rendering.Rendering(files).prepare()
print(files.address("page.css"))
print(sorted(one.parent.name for one in static_files.FOLDER.rglob("LICENSE")))
"""


def test_the_page_has_all_of_its_files(installed: Path, tmp_path: Path) -> None:
    """Templates, style and scripts, with the licences of what is others'."""
    command = [str(installed / "bin" / "python"), "-P", "-c", PAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    address, licences = done.stdout.splitlines()
    assert address.startswith("/page/static/")
    assert licences == "['htmx', 'swagger-ui', 'uplot']"
