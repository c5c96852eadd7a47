"""The git hook and its installer, in real repositories with a scanner of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BEGINS = "Running Phase 12 mechanical scanner...\n"
PASSED = "✔ Phase 12 scanner passed.\n"
FAILED = "❌ Phase 12 scanner failed. Commit aborted.\n"
CLEAN = "result = tool_runner.run('ocr', payload)\n"
VIOLATION = "result = plugin.run(payload)\n"
SCANNER = '''\
"""Finds what the real one finds, in one file."""

import pathlib
import sys

path = pathlib.Path(__file__).resolve().parents[1] / "api.py"
if "plugin.run(" in path.read_text(encoding="utf-8"):
    print("api.py:1: found")
    sys.exit(1)
'''
OTHER_HOOK = "#!/bin/sh\necho another hook\n"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs a command, with a git that knows nothing of this user's."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment |= {
        "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
    }
    (tmp_path / "gitconfig").write_text("[user]\n\tname = A\n\temail = a@example.org\n")

    def call(
        folder: Path, *command: str, path: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        changed = environment if path is None else environment | {"PATH": str(path)}
        return subprocess.run(
            command, cwd=folder, env=changed, capture_output=True, text=True, check=False
        )

    return call


@pytest.fixture
def repository(tmp_path: Path, run: Run) -> Path:
    """A repository with the installer, the hook, a scanner, and one commit."""
    folder = tmp_path / "repository"
    shutil.copytree(ROOT / "scripts/hooks", folder / "scripts/hooks")
    shutil.copy(ROOT / "scripts/install-hooks", folder / "scripts")
    (folder / "scripts/scan_phase_12_violations.py").write_text(SCANNER)
    (folder / "api.py").write_text(CLEAN)
    for command in ("git init --quiet -b main", "git add .", "git commit --quiet -m first"):
        assert run(folder, *command.split()).returncode == 0
    return folder


@pytest.fixture
def installed(repository: Path, run: Run) -> Path:
    """The same, with the hook in place."""
    done = run(repository, "scripts/install-hooks")
    assert done.returncode == 0, done.stderr
    return repository


def commit(run: Run, folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Try to commit ``api.py`` with this text; git shows a hook's output on stderr."""
    (folder / "api.py").write_text(text)
    assert run(folder, "git", "add", "api.py").returncode == 0
    return run(folder, "git", "commit", "--quiet", "-m", "change")


def commits(run: Run, folder: Path) -> int:
    """Return how many commits the branch has."""
    return int(run(folder, "git", "rev-list", "--count", "HEAD").stdout)


def test_a_commit_without_violations_goes_through(installed: Path, run: Run) -> None:
    """With the documents' first and last line."""
    done = commit(run, installed, CLEAN + "\n")
    assert done.returncode == 0
    assert done.stderr == BEGINS + PASSED
    assert commits(run, installed) == 2


def test_a_commit_with_a_violation_is_aborted(installed: Path, run: Run) -> None:
    """What the scanner found stands before the documents' last line."""
    done = commit(run, installed, VIOLATION)
    assert done.returncode == 1
    assert done.stderr == BEGINS + "api.py:1: found\n" + FAILED
    assert commits(run, installed) == 1


def test_what_is_committed_is_scanned(installed: Path, run: Run) -> None:
    """Not what the working tree holds: neither better nor worse."""
    (installed / "api.py").write_text(VIOLATION)
    run(installed, "git", "add", "api.py")
    (installed / "api.py").write_text(CLEAN)
    assert run(installed, "git", "commit", "-m", "staged").returncode == 1
    run(installed, "git", "add", "api.py")
    (installed / "api.py").write_text(VIOLATION)
    assert run(installed, "git", "commit", "--allow-empty", "-m", "clean").returncode == 0
    assert run(installed, "git", "commit", "-m", "named", "api.py").returncode == 1
    assert commits(run, installed) == 2


def test_a_commit_without_the_scanner_is_aborted(installed: Path, run: Run) -> None:
    """It cannot be removed by the commit that it would stop."""
    run(installed, "git", "rm", "--quiet", "scripts/scan_phase_12_violations.py")
    done = commit(run, installed, CLEAN)
    assert done.returncode == 1
    assert "scan_phase_12_violations.py is not among the files" in done.stderr
    assert done.stderr.endswith(FAILED)


def test_without_a_python_nothing_is_committed(installed: Path, tmp_path: Path, run: Run) -> None:
    """One that is too old is none."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "env", "git", "mktemp", "rm"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    code = "import sys; sys.version_info = (3, 10, 14); exec(sys.argv[2])"
    (tools / "python").write_text(f"#!/bin/bash\n{sys.executable} -c '{code}' \"$@\"\n")
    (tools / "python").chmod(0o755)
    done = run(installed, "git", "commit", "--allow-empty", "-m", "x", path=tools)
    assert done.returncode == 1
    assert "no Python 3.11 or later was found" in done.stderr
    (tools / "python3.11").symlink_to(sys.executable)
    assert run(installed, "git", "commit", "--allow-empty", "-m", "x", path=tools).returncode == 0


def test_a_worktree_is_scanned_by_its_own_scanner(
    installed: Path, tmp_path: Path, run: Run
) -> None:
    """One installation is for all worktrees, and each has its own files; it may be run from any."""
    other = tmp_path / "other"
    assert run(installed, "git", "worktree", "add", "-b", "other", str(other)).returncode == 0
    assert commit(run, other, VIOLATION).returncode == 1
    (other / "scripts/scan_phase_12_violations.py").write_text("")
    run(other, "git", "add", "scripts")
    assert commit(run, other, VIOLATION).returncode == 0
    assert commit(run, installed, VIOLATION).returncode == 1
    assert run(other, "scripts/install-hooks", "--uninstall").returncode == 0
    assert not (installed / ".git/hooks/pre-commit").exists()


def test_installing_again_changes_nothing_but_brings_the_newest_hook(
    installed: Path, run: Run
) -> None:
    """Also from another folder, and with an older hook of this project in place."""
    hook = installed / ".git/hooks/pre-commit"
    newest = hook.read_text(encoding="utf-8")
    hook.write_text("".join(newest.splitlines(keepends=True)[:2]) + "exit 0\n", encoding="utf-8")
    for _ in range(2):
        done = run(installed / "scripts/hooks", "../install-hooks")
        assert done.returncode == 0, done.stderr
        assert hook.read_text(encoding="utf-8") == newest
        assert os.access(hook, os.X_OK)
    assert list(hook.parent.glob("pre-commit.[!s]*")) == []


@pytest.mark.parametrize("is_link", [False, True], ids=["file", "link"])
def test_another_hook_is_not_touched_unless_told(repository: Path, run: Run, is_link: bool) -> None:
    """It is named; then kept; then put back as it was."""
    hook = repository / ".git/hooks/pre-commit"
    elsewhere = repository.parent / "elsewhere"
    if is_link:
        hook.symlink_to(elsewhere)
    else:
        hook.write_text(OTHER_HOOK)
    refused = run(repository, "scripts/install-hooks")
    assert refused.returncode == 1
    assert "there is another hook: .git/hooks/pre-commit" in refused.stderr
    assert run(repository, "scripts/install-hooks", "--uninstall").returncode == 0
    assert hook.is_symlink() is is_link
    assert run(repository, "scripts/install-hooks", "--replace").returncode == 0
    assert not hook.is_symlink()
    assert commit(run, repository, VIOLATION).returncode == 1
    assert run(repository, "scripts/install-hooks", "--replace").returncode == 0
    assert run(repository, "scripts/install-hooks", "--uninstall").returncode == 0
    assert hook.is_symlink() is is_link
    assert elsewhere.exists() is False
    assert is_link or hook.read_text() == OTHER_HOOK
    # What was kept once is not overwritten by another.
    kept = hook.with_name("pre-commit.before-toolrunner")
    kept.write_text("older\n")
    assert run(repository, "scripts/install-hooks", "--replace").returncode == 1
    assert kept.read_text() == "older\n"


def test_the_folder_that_this_repository_names_is_used(repository: Path, run: Run) -> None:
    """``core.hooksPath``, made if it is not there."""
    run(repository, "git", "config", "core.hooksPath", "my/hooks")
    assert run(repository, "scripts/install-hooks").returncode == 0
    assert not (repository / ".git/hooks/pre-commit").exists()
    assert commit(run, repository, VIOLATION).returncode == 1
    assert run(repository, "scripts/install-hooks", "--uninstall").returncode == 0
    assert commit(run, repository, VIOLATION).returncode == 0


def test_a_folder_for_all_of_a_users_repositories_is_left_alone(
    repository: Path, tmp_path: Path, run: Run
) -> None:
    """The hook would stop commits where there is no scanner."""
    shared = tmp_path / "shared"
    run(repository, "git", "config", "--global", "core.hooksPath", str(shared))
    done = run(repository, "scripts/install-hooks")
    assert done.returncode == 1
    assert "core.hooksPath is set for all of your repositories" in done.stderr
    assert not shared.exists()


def test_it_installs_into_no_repository_but_its_own(repository: Path, run: Run) -> None:
    """Sources that were unpacked inside of somebody's repository are not that repository."""
    inside = repository / "vendor"
    shutil.copytree(repository / "scripts", inside / "scripts")
    done = run(inside, "scripts/install-hooks")
    assert done.returncode == 1
    assert "is no git repository of its own" in done.stderr
    assert not (repository / ".git/hooks/pre-commit").exists()


def test_it_says_how_it_is_used(repository: Path, run: Run) -> None:
    """``--help`` on stdout; anything unknown is refused, and nothing done."""
    shown = run(repository, "scripts/install-hooks", "--help")
    assert shown.returncode == 0
    for option in ("--replace", "--uninstall", "--help"):
        assert option in shown.stdout
    for wrong in (["--uninstal"], ["--replace", "--uninstall"]):
        refused = run(repository, "scripts/install-hooks", *wrong)
        assert (refused.returncode, refused.stdout) == (2, "")
    assert not (repository / ".git/hooks/pre-commit").exists()
