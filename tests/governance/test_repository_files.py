"""What GitHub and operators read: workflows, template, locks, unit, image. They match the code."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.inside.namespaces import CLONE_FLAGS

ROOT = Path(__file__).parent.parent.parent
WORKFLOWS = sorted((ROOT / ".github/workflows").iterdir())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEMPLATE = (ROOT / ".github/pull_request_template.md").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "docs/deploy/Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")

SCANNER = "python scripts/scan_phase_12_violations.py"
# Each workflow's steps, in order: their names, and what they run or use.
STEPS = {
    "phase12-ci": [
        ("Checkout", "actions/checkout"),
        ("Set up Python", "actions/setup-python"),
        ("Install dependencies", "pip install --require-hashes -r requirements.txt"),
        ("Run Phase 12 Mechanical Scanner", SCANNER),
        ("Run Phase 11 Tests", "pytest tests/phase_11 --maxfail=1 --disable-warnings"),
        ("Run Phase 12 Tests", "pytest tests/phase_12 --maxfail=1 --disable-warnings"),
    ],
    "phase12-full": [
        ("Checkout", "actions/checkout"),
        ("Set up Python", "actions/setup-python"),
        ("Cache pip", "actions/cache"),
        ("Install dependencies", "pip install --require-hashes -r requirements.txt"),
        ("Run Phase 12 Mechanical Scanner", SCANNER),
        ("Run Phase 11 Tests", "pytest tests/phase_11 --disable-warnings"),
        ("Run Phase 12 Tests", "pytest tests/phase_12 --disable-warnings"),
        ("Coverage", "coverage run -m pytest tests/phase_11 tests/phase_12\ncoverage xml"),
        ("Upload Coverage", "actions/upload-artifact"),
    ],
}
CHECKBOXES = {
    "Summary": [
        "Implements or updates ToolRunner governed execution.",
        "Wires PluginManagementService → ToolRunner.",
        "Wires JobManagementService → PluginManagementService.",
        "Wires API → AnalysisService → JobManagementService.",
    ],
    "Changes": [
        "New/updated files:",
        "`runner/tool_runner.py`",
        "`runner/registry/registry.py`",
        "`runner/payloads/validation.py`",
        "`runner/errors.py`",
        "`runner/services/plugin_management.py`",
        "`runner/services/job_management.py`",
        "`runner/services/analysis.py`",
        "`api/http/analyze.py`",
    ],
    "Invariants": [
        "No direct `plugin.run()` calls outside ToolRunner.",
        "All plugin execution goes through ToolRunner.",
        "All errors are structured envelopes.",
        "Registry metrics updated after every execution.",
        "Input and output validated.",
    ],
    "Testing": [
        "`pytest tests/phase_12`",
        "`pytest tests/phase_11`",
        "Migration script:",
        "`python scripts/migrate_phase_12.py`",
    ],
    "Risks / Notes": [
        "Any known Phase 11 touchpoints.",
        "Any follow-up work (e.g., persistence, locking).",
    ],
}


def jobs(workflow: Path) -> dict[str, Any]:
    """Return a workflow's jobs."""
    found = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    assert isinstance(found, dict)
    return found


def steps(workflow: Path) -> list[dict[str, Any]]:
    """Return the steps of a workflow's first job."""
    return list(next(iter(jobs(workflow).values()))["steps"])


def locked(name: str) -> dict[tuple[str, str], tuple[str, set[str]]]:
    """Return a lock's packages: name and marker, with the version and the hashes of each."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    packages: dict[tuple[str, str], tuple[str, set[str]]] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        requirement = Requirement(line.split(" --hash=", 1)[0])
        key = (canonicalize_name(requirement.name), str(requirement.marker or ""))
        packages[key] = (str(requirement.specifier), set(re.findall(r"--hash=(\S+)", line)))
    return packages


def unit(name: str = "toolrunner") -> dict[str, list[str]]:
    """Return the directives of a unit's service, each with all its words."""
    parser = configparser.ConfigParser(interpolation=None, delimiters="=")
    parser.optionxform = str  # type: ignore[assignment, method-assign] # names keep their case
    parser.read(ROOT / f"docs/deploy/{name}.service", encoding="utf-8")
    return {name: shlex.split(value) for name, value in parser["Service"].items()}


def instruction(name: str) -> list[str]:
    """Return what the Dockerfile says last with this instruction, which is a JSON list."""
    words = json.loads(re.findall(rf"{name} (\[.*\])", DOCKERFILE)[-1])
    assert isinstance(words, list)
    return words


def toolrunner(arguments: list[str], state: Path) -> list[str]:
    """Return the command line of this checkout's ``toolrunner``, with a state folder."""
    return [sys.executable, "-P", "-m", "toolrunner", "--state", str(state), *arguments]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with a key in it."""
    folder = tmp_path / "state"
    command = toolrunner(["keys", "create", "shop"], folder)
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_there_are_the_documents_two_workflows() -> None:
    """No other: what is here is known to this file."""
    assert [path.name for path in WORKFLOWS] == ["phase12-ci.yml", "phase12-full.yml"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_the_documents_steps_in_order(workflow: Path) -> None:
    """Other steps may stand between them."""
    wanted = iter(STEPS[workflow.stem])
    name, does = next(wanted)
    for step in steps(workflow):
        if step["name"] == name:
            assert (step.get("uses", "").split("@")[0] or step["run"]).startswith(does)
            name, does = next(wanted, ("", ""))
    assert not name, f"{name} is missing, or stands too early"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_may_do_no_more_than_they_need(workflow: Path) -> None:
    """Nothing by default; each job reads the sources, in bounded time, and keeps no token."""
    document = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    assert document["permissions"] == {}
    assert document["concurrency"]
    # YAML 1.1 takes the word "on" for true.
    assert document[True] == {"push": {"branches": ["main"]}, "pull_request": None}
    for job in jobs(workflow).values():
        assert job["permissions"] == {"contents": "read"}
        assert job["timeout-minutes"] <= 45
        checkout, *others = [s for s in job["steps"] if "checkout" in s.get("uses", "")]
        assert not others
        assert checkout["with"] == {"persist-credentials": False}


def test_actions_are_pinned() -> None:
    """By a full commit with its version beside it, and everywhere by the same one."""
    pins: dict[str, set[str]] = {}
    for workflow in WORKFLOWS:
        lines = re.findall(r"uses:(.*)", workflow.read_text(encoding="utf-8"))
        assert lines
        for line in lines:
            found = re.fullmatch(r" ([\w-]+/[\w-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", line)
            assert found, line
            pins.setdefault(found[1], set()).add(found[2])
    assert all(len(versions) == 1 for versions in pins.values()), pins


def test_workflows_run_on_the_supported_pythons() -> None:
    """All that pyproject.toml names; the short one on the oldest."""
    named = "Programming Language :: Python :: 3."
    supported = [
        line.removeprefix("Programming Language :: Python :: ")
        for line in PROJECT["project"]["classifiers"]
        if line.startswith(named)
    ]
    short, full = (jobs(path) for path in WORKFLOWS)
    assert full["test"]["strategy"]["matrix"]["python-version"] == supported
    assert PROJECT["project"]["requires-python"] == f">={supported[0]}"
    assert steps(WORKFLOWS[0])[1]["with"]["python-version"] == supported[0]
    assert short.keys() == {"phase12-ci"}


def test_the_cache_is_keyed_by_the_locks() -> None:
    """A changed lock is another cache."""
    [cache] = [step for step in steps(WORKFLOWS[1]) if step["name"] == "Cache pip"]
    assert cache["with"]["path"] == "~/.cache/pip"
    assert "hashFiles('requirements.txt'" in cache["with"]["key"]


def test_the_template_has_every_section_and_checkbox() -> None:
    """In their order, none ticked."""
    sections = re.split(r"^## ", TEMPLATE, flags=re.MULTILINE)
    assert sections[0] == "# Phase 12 PR Template — ToolRunner & Governance\n\n"
    found = {
        section.splitlines()[0]: re.findall(r"^ *- \[ \] (.*)$", section, re.MULTILINE)
        for section in sections[1:]
    }
    assert list(found.items()) == list(CHECKBOXES.items())


def test_what_workflows_and_template_name_exists() -> None:
    """Scripts, test folders, locks and sources."""
    texts = [TEMPLATE, *(path.read_text(encoding="utf-8") for path in WORKFLOWS)]
    pattern = r"(?:scripts|tests|runner|api)/[\w./]+|requirements[\w.-]+"
    names = {name for text in texts for name in re.findall(pattern, text)}
    assert len(names) >= 15
    assert [name for name in sorted(names) if not (ROOT / name).exists()] == []


def test_the_pre_commit_framework_runs_the_same_hook() -> None:
    """On every commit, whatever it changes."""
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    [repository] = yaml.safe_load(text)["repos"]
    [hook] = repository["hooks"]
    assert os.access(ROOT / hook["entry"], os.X_OK)
    assert (hook["language"], hook["always_run"], hook["pass_filenames"]) == ("script", True, False)


def test_the_run_time_lock_holds_every_dependency() -> None:
    """In a version that pyproject.toml allows, and each with hashes."""
    packages = locked("requirements.txt")
    assert all(hashes for _, hashes in packages.values())
    for line in PROJECT["project"]["dependencies"]:
        wanted = Requirement(line)
        versions = [v for (name, _), (v, _) in packages.items() if name == wanted.name]
        assert versions, line
        assert all(wanted.specifier.contains(version.removeprefix("==")) for version in versions)


def test_the_locks_agree() -> None:
    """What is tested is what is run: same versions, same files."""
    development = locked("requirements-dev.lock")
    cluster = locked("requirements-cluster.txt")
    assert {name for name, _ in cluster} >= {
        Requirement(line).name for line in PROJECT["project"]["optional-dependencies"]["cluster"]
    }
    assert locked("requirements.txt").items() <= cluster.items()
    for (name, _), pinned in cluster.items():
        # Its marker may be wider there, since more needs it.
        assert pinned in [pin for (other, _), pin in development.items() if other == name], name
    libraries = locked("requirements-libraries.lock")
    for (name, _), pinned in locked("requirements.txt").items():
        assert pinned in [pin for (other, _), pin in libraries.items() if other == name], name
    for packages, group in ((development, "dev"), (libraries, "libraries")):
        names = {name for name, _ in packages}
        assert names >= {Requirement(r).name for r in PROJECT["dependency-groups"][group]}


def test_the_run_time_lock_says_how_it_was_made() -> None:
    """The command stands in its head, and in CONTRIBUTING."""
    head = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()[1]
    command = head.lstrip("# ")
    assert command.startswith("uv pip compile pyproject.toml ")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert command in " ".join(contributing.split())


def test_the_unit_starts_a_server_that_the_images_health_check_finds(state: Path) -> None:
    """With every option as it stands there, but for the port."""
    program, *arguments = unit()["ExecStart"]
    assert program == "/opt/toolrunner/bin/toolrunner"
    arguments[arguments.index("--port") + 1] = "0"
    with subprocess.Popen(
        toolrunner(arguments, state), cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        log = iter(server.stderr.readline, "")
        address = next(
            found[1] for line in log if (found := re.search(r"listening on http://([\d.:]+)", line))
        )
        _, *check = [w.replace("127.0.0.1:8000", address) for w in instruction("HEALTHCHECK.*CMD")]
        done = subprocess.run([sys.executable, *check], capture_output=True, check=False)
        server.terminate()
        rest = "".join(log)
    assert done.returncode == 0, done.stderr.decode()
    assert server.returncode == 0, rest
    # Nobody listens any more, and the check says so.
    assert subprocess.run([sys.executable, *check], capture_output=True, check=False).returncode


def test_the_workers_unit_confines_as_the_servers(tmp_path: Path) -> None:
    """All the same but what it runs and whose state that is; its command is one that starts."""
    worker, server = unit("toolrunner-worker"), unit()
    own = {"ExecStart", "Environment", "EnvironmentFile", "StateDirectory"}
    assert {name: words for name, words in worker.items() if name not in own} == {
        name: words for name, words in server.items() if name not in own
    }
    program, *arguments = worker["ExecStart"]
    assert program == server["ExecStart"][0]
    [folder] = worker["StateDirectory"]
    assert worker["Environment"] == [f"TOOLRUNNER_STATE=/var/lib/{folder}"]
    arguments[arguments.index("--health") + 1] = "127.0.0.1:0"
    with subprocess.Popen(
        toolrunner(arguments, tmp_path / "state"), cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        log = ""
        for line in process.stderr:
            log += line
            if "taking jobs of" in line:
                process.terminate()
    assert process.returncode == 0, log
    assert "taking jobs of" in log


def test_the_image_refuses_to_start_without_a_key(tmp_path: Path) -> None:
    """Its command line is understood, and says what is missing."""
    assert instruction("ENTRYPOINT") == ["toolrunner"]
    command = toolrunner(instruction("CMD"), tmp_path / "state")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "toolrunner keys create" in done.stderr


def test_the_unit_leaves_the_sandbox_what_it_needs() -> None:
    """Exactly a box's namespaces, its own /proc, and time to drain; boxes get no SIGTERM."""
    directives = unit()
    namespaces = {"mnt" if name == "mount" else name for name in CLONE_FLAGS}
    assert set(directives["RestrictNamespaces"]) == namespaces
    covering = {"ProtectKernelTunables", "ProtectKernelLogs", "ProtectHostname", "ProcSubset"}
    assert not directives.keys() & (covering | {"MemoryDenyWriteExecute"})
    denied = directives["SystemCallFilter"]
    assert denied[0].startswith("~")
    assert not {"@mount", "@setuid", "@process", "@privileged"} & {w.lstrip("~") for w in denied}
    assert directives["KillMode"] == ["mixed"]
    assert int(directives["TimeoutStopSec"][0]) > Settings().drain_seconds
    assert directives["User"] == ["toolrunner"]
    assert directives["NoNewPrivileges"] == ["yes"]


def lines_of(name: str) -> Iterator[str]:
    """Yield what follows an instruction of the Dockerfile, each time that it stands there."""
    return (
        line.removeprefix(name).strip() for line in DOCKERFILE.splitlines() if line.startswith(name)
    )


def test_the_image_is_made_of_pinned_and_existing_things() -> None:
    """One base by its digest; every package; an ordinary user by number at the end."""
    bases = {line.removesuffix(" AS build") for line in lines_of("FROM ")}
    [base] = bases
    assert re.fullmatch(r"python:3\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    copied = {w for line in lines_of("COPY ") if "--from" not in line for w in line.split()[:-1]}
    assert [name for name in sorted(copied) if not (ROOT / name).exists()] == []
    packages = {name.split(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]}
    assert copied >= packages | {"pyproject.toml", "requirements.txt", "LICENSE", "README.md"}
    [user] = lines_of("USER ")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)


@pytest.mark.parametrize(
    "name", ["SECURITY.md", "docs/deploy/README.md", "docs/deploy/cluster.md", "docs/http.md"]
)
def test_links_lead_to_files_and_headings(name: str) -> None:
    """Those between documents; the web is not asked."""
    path = ROOT / name
    links = re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", path.read_text(encoding="utf-8"))
    assert links
    for target, heading in links:
        there = path.parent / target if target else path
        assert there.exists(), target
        if heading:
            found = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in found]


def test_the_bill_of_materials_is_made_as_documented() -> None:
    """The pipeline's command is the one by hand."""
    [step] = [s for s in jobs(WORKFLOWS[1])["sbom"]["steps"] if "cyclonedx-py" in s.get("run", "")]
    guide = (ROOT / "docs/deploy/README.md").read_text(encoding="utf-8")
    assert f"```sh\n{step['run']}\n```" in guide


def test_nothing_makes_every_import_slow() -> None:
    """With rfc3987-syntax installed, each import of jsonschema builds a grammar for a second."""
    for lock in ("requirements.txt", "requirements-dev.lock"):
        assert "rfc3987-syntax==" not in (ROOT / lock).read_text(encoding="utf-8")


def test_what_the_readme_has_written_is_no_change_of_the_checkout() -> None:
    """Its first commands write results beside it."""
    [folder] = re.findall(r"--out (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert f"/{folder}/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
