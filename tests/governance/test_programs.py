"""The programs in scripts/: what they look at and leave behind in a checkout that is somebody's."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

from tests.governance.edits import ROOT


def test_the_checks_look_at_the_projects_folders_alone(tmp_path: Path) -> None:
    """Each that holds Python is named, and not the checkout: it holds its user's files too."""
    said = tmp_path / "said"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{said}\necho {tmp_path}\n')
    python.chmod(0o755)
    (tmp_path / "zizmor").symlink_to("python")
    subprocess.run([ROOT / "scripts/check", python], check=True, capture_output=True)
    ruff = [line.split() for line in said.read_text().splitlines() if "-m ruff" in line]
    assert len(ruff) == 2
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = set(project["tool"]["setuptools"]["package-dir"].values())
    for words in ruff:
        named = {word for word in words if (ROOT / word).is_dir()}
        assert named == packages | {"scripts", "tests"}
    assert " ." not in said.read_text().replace(" .github", "")


def test_quickstart_leaves_nothing_beside_the_sources(tmp_path: Path) -> None:
    """It has the package built from a copy: here by a pip that litters where it builds."""
    checkout = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".*", "tests", "__pycache__", "build", "*.egg-info")
    shutil.copytree(ROOT, checkout, symlinks=True, ignore=ignored)
    python = checkout / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(
        "#!/bin/sh\n"
        "for last; do :; done\n"
        f'[ -f "$last/pyproject.toml" ] && [ -L "$last/toolrunner/api" ] && mkdir "$last/build"\n'
        f'[ "$2" != pip ] || echo "$last" >{tmp_path}/built\n'
    )
    python.chmod(0o755)
    toolrunner = python.with_name("toolrunner")
    toolrunner.write_text("#!/bin/sh\n")
    toolrunner.chmod(0o755)
    before = sorted(checkout.rglob("*"))
    subprocess.run([checkout / "scripts/quickstart"], check=True, capture_output=True)
    built = Path((tmp_path / "built").read_text().strip())
    assert not built.is_relative_to(checkout)
    assert not built.exists()
    assert sorted(checkout.rglob("*")) == before
