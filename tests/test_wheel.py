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

ROOT = Path(__file__).parent.parent
PACKAGES = ("api", "plugins", "runner", "sandbox")
PROJECTS = Path(__file__).parent / "pytest_projects"
PHOTO = ROOT / "plugins/bundled/samples/coffee-label.jpg"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy of the sources."""
    sources = tmp_path_factory.mktemp("sources")
    for name in (*PACKAGES, "toolrunner_pytest.py", "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, sources / name, ignore=ignore)
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
    """A folder in which somebody else has packages of all our names."""
    for name in PACKAGES:
        package = tmp_path / name
        package.mkdir()
        (package / "__init__.py").write_text(f"raise SystemExit('the other {name} was imported')\n")
    return tmp_path


def test_the_wheel_holds_all_packages_and_no_tests(wheel: Path) -> None:
    """Typed packages, the bundled plugins and the sample are in it; tests and scripts are not."""
    names = zipfile.ZipFile(wheel).namelist()
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    assert "plugins/bundled/barcode.py" in names
    assert "plugins/bundled/samples/coffee-label.jpg" in names
    assert "sandbox/inside/launch.py" in names
    assert "toolrunner_pytest.py" in names
    assert "plugins/faults/hostile.py" in names
    assert "plugins/faults/escape/network.py" in names
    assert not [n for n in names if n.split("/")[0] in ("tests", "scripts", "docs")]


def test_the_command_works_among_other_peoples_packages(
    installed: Path, others_folder: Path
) -> None:
    """The console script finds its own packages, whatever lies in the working directory."""
    command = [str(installed / "bin" / "toolrunner"), "--json", "analyze", "barcode", str(PHOTO)]
    done = subprocess.run(command, cwd=others_folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"]["count"] >= 1


def test_the_attacks_are_shipped(installed: Path, others_folder: Path) -> None:
    """An installed command can attack its host."""
    command = [str(installed / "bin" / "toolrunner"), "doctor", "--attack", "--json"]
    command += ["--only", "tree/daemon", "--only", "escape/secrets"]
    done = subprocess.run(command, cwd=others_folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [case["outcome"] for case in json.loads(done.stdout)["cases"]] == ["contained"] * 2


def test_authors_get_the_fixture_with_the_wheel(installed: Path, tmp_path: Path) -> None:
    """Among folders of our packages' names, by the entry point that the wheel brings."""
    project = shutil.copytree(PROJECTS / "shadowing", tmp_path / "project")
    command = [str(installed / "bin" / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_library_works_with_safe_path(installed: Path, others_folder: Path) -> None:
    """``python -P`` keeps the working directory out of the way."""
    code = (
        "from runner import ToolRunner\n"
        "with ToolRunner() as t:\n"
        "    print(t.run('text-stats', {'text': 'Two words.'})[0]['words'])\n"
    )
    command = [str(installed / "bin" / "python"), "-P", "-c", code]
    done = subprocess.run(command, cwd=others_folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2\n"


def test_a_shadowed_package_is_named(installed: Path, tmp_path: Path) -> None:
    """Half of this project and half of another fail at once, saying which folder is in the way."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "__init__.py").write_text("")
    command = [str(installed / "bin" / "python"), "-c", "import runner"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert str(tmp_path / "plugins") in done.stderr
    assert "-P" in done.stderr
