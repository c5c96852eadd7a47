"""The image's steps, done without a daemon: what its Dockerfile copies is all that it needs."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs/deploy"
VENV, WHEELS = "/opt/toolrunner", "/wheels"
ARGUMENT = ("ARG", "REQUIREMENTS=requirements.txt")
REQUIREMENTS = f'{VENV}/bin/pip install --require-hashes -r "$REQUIREMENTS"'


def steps() -> Iterator[tuple[str, str]]:
    """Yield instruction and words of the first stage, which makes what the image holds."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    stage = re.split(r"^FROM .*\n", text, flags=re.MULTILINE)[1]
    for line in stage.splitlines():
        if line and not line.startswith("#"):
            instruction, _, words = line.partition(" ")
            yield instruction, words


def sent() -> set[str]:
    """Return what of the folder reaches a build."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    return {line.removeprefix("!") for line in lines if line.startswith("!")}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that stands for the image's root, after all steps of the first stage."""
    root = tmp_path_factory.mktemp("image")
    source = root / "src"
    source.mkdir()
    # The base has a pip of its own, which fetches setuptools for a build; here it is there already.
    programs = root / "base"
    programs.mkdir()
    (programs / "pip").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m pip "$@"\n')
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PIP_NO_BUILD_ISOLATION": "false",  # pip's way to say that there is none
        "PIP_NO_INDEX": "1",
    }
    for instruction, words in steps():
        if instruction == "RUN" and words == REQUIREMENTS:
            # Downloads of minutes: the same packages as in this environment, which has them.
            (packages,) = (root / VENV[1:]).glob("lib/python3*/site-packages")
            (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()))
        elif instruction == "RUN":
            command = words.replace(VENV, f"{root}{VENV}").replace(WHEELS, f"{root}{WHEELS}")
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=source,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        elif instruction == "COPY":
            *names, to = words.split()
            assert set(names) <= sent()
            for name in names:
                copy(ROOT / name, source / to / name if to == "./" else source / to)
        else:
            assert (instruction, words) in {("ENV", words), ("WORKDIR", "/src"), ARGUMENT}
    return root


def copy(source: Path, target: Path) -> None:
    """Copy as a build does: links stay links."""
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, symlinks=True, ignore=ignored)
    else:
        shutil.copy(source, target)


def ran(image: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the image's environment elsewhere, with the state in that folder."""
    environment = {"PATH": f"{image}{VENV}/bin:/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run(
        [f"{image}{VENV}/bin/{command[0]}", *command[1:]],
        cwd=folder,
        env={**environment, "TOOLRUNNER_STATE": str(folder / "state")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_image_has_a_toolrunner_that_works(image: Path, tmp_path: Path) -> None:
    """The entry point finds all of its modules, and calls a plugin."""
    doctor = ran(image, tmp_path, "toolrunner", "doctor")
    assert doctor.returncode in {0, 3}, doctor.stderr
    assert "landlock" in doctor.stdout
    called = ran(
        image, tmp_path, "toolrunner", "--json", "run", "text-stats", "--payload", '{"text": "a"}'
    )
    assert called.returncode == 0, called.stderr
    where = ran(image, tmp_path, "python", "-c", "import toolrunner; print(toolrunner.__file__)")
    assert where.stdout.startswith(str(image))


def test_pytest_works_in_the_image(image: Path, tmp_path: Path) -> None:
    """The wheel declares a plugin of pytest: without its module no pytest there would start."""
    version = ran(image, tmp_path, "python", "-m", "pytest", "--version")
    assert (version.returncode, version.stderr) == (0, ""), version.stderr
    fixtures = ran(
        image, tmp_path, "python", "-m", "pytest", "--fixtures", "-p", "no:cacheprovider"
    )
    assert "governed" in fixtures.stdout
