"""The scanner as a program: what it prints, how it ends, and what it makes of broken files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.governance import scanning
from tests.governance.edits import ROOT
from tests.governance.scanning import RULES, rules, source

SCANNER = ROOT / "scripts" / "scan_phase_12_violations.py"
OK = "Phase 12 scanner OK: no violations detected.\n"
FAILED = "Phase 12 scanner FAILED:\n"


def scan(
    *arguments: str | Path, options: tuple[str, ...] = (), cwd: Path = ROOT
) -> tuple[int, str, str]:
    """Run the scanner as a user does; return its exit status and what it printed."""
    done = subprocess.run(
        [sys.executable, *options, str(SCANNER), *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=cwd,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout of what is scanned, which a test may break."""
    for name in scanning.real().modules:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("api", "plugins", "runner", "sandbox"):
        (tmp_path / "toolrunner" / name).symlink_to(f"../{name}")
    return tmp_path


@pytest.mark.parametrize("options", [(), ("-P",), ("-I",), ("-I", "-S", "-W", "error")])
def test_this_project_breaks_no_rule(options: tuple[str, ...], tmp_path: Path) -> None:
    """Said in one line, from whatever folder, with an interpreter that has nothing installed."""
    assert scan(options=options, cwd=tmp_path) == (0, OK, "")


def test_a_broken_project_is_refused(copy: Path) -> None:
    """With the documents' line, a line a finding after it, and exit status 1."""
    with (copy / "runner" / "call.py").open("a") as file:
        file.write("\ndef go(plugin):\n    return plugin.run({})\n")
    status, printed, errors = scan("--root", copy)
    line = (copy / "runner" / "call.py").read_text().count("\n")
    assert (status, errors) == (1, "")
    assert printed.startswith(FAILED)
    assert re.fullmatch(rf"runner/call\.py:{line}: P12-DIRECT-RUN: .+\n", printed[len(FAILED) :])


def test_findings_as_json(copy: Path) -> None:
    """One document, with the same exit status."""
    (copy / "runner" / "tool_runner.py").unlink()
    status, printed, _ = scan("--json", "--root", copy)
    document = json.loads(printed)
    assert status == 1
    assert document["ok"] is False
    assert document["findings"] == [
        {
            "path": "runner/tool_runner.py",
            "line": 1,
            "rule": "P12-TOOLRUNNER",
            "sentence": "ToolRunner file not found",
            "reason": "",
        }
    ]


def test_json_without_findings() -> None:
    """It says how many files were read."""
    status, printed, _ = scan("--json")
    document = json.loads(printed)
    assert status == 0
    assert document["ok"] is True
    assert document["findings"] == []
    assert document["files"] == len(scanning.real().modules)


def test_its_rules_are_listed() -> None:
    """A line a rule: its name and a sentence."""
    status, printed, _ = scan("--list-rules")
    assert status == 0
    assert printed.splitlines() == [f"{name}: {sentence}" for name, sentence in RULES.items()]
    assert all(re.fullmatch(r"P12(-[A-Z]+)+", name) for name in RULES)
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in RULES.values())
    assert json.loads(scan("--list-rules", "--json")[1]) == RULES


def test_help_has_examples() -> None:
    """And the exit statuses."""
    status, printed, _ = scan("--help")
    assert status == 0
    assert "python scripts/scan_phase_12_violations.py --json" in printed
    assert "Exit status: 0" in printed


@pytest.mark.parametrize("arguments", [("--root", "/nowhere/at/all"), ("--quick",), ("api",)])
def test_a_wrong_call_is_refused(arguments: tuple[str, ...]) -> None:
    """With exit status 2, in words, and nothing on stdout."""
    status, printed, errors = scan(*arguments)
    assert (status, printed) == (2, "")
    assert "error: " in errors


def test_an_empty_folder_lacks_everything(tmp_path: Path) -> None:
    """Nothing to scan is no success."""
    status, printed, _ = scan("--root", tmp_path)
    assert status == 1
    assert "ToolRunner file not found" in printed


BROKEN: dict[str, tuple[bytes, int, str]] = {
    "syntax": (b"x = 1\ndef broken(:\n", 2, "it cannot be parsed: "),
    "latin-1": (b"x = 1\ny = '\xe9'\n", 2, "it is not UTF-8"),
    "null": (b"x = 1\n\ny = '\x00'\n", 3, "it holds a null byte"),
    "utf-7": (b"# -*- coding: utf-7 -*-\n", 1, "it declares another encoding than UTF-8"),
    "utf-16": ("x = 1\n".encode("utf-16"), 1, "it is not UTF-8"),
    "too deep": (b"x = " + b"(" * 5000 + b")" * 5000 + b"\n", 1, "it cannot be parsed: "),
    "long sum": (b"x = plugin" + b" + plugin" * 3000 + b"\nx.run({})\n", 1, ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_a_finding(copy: Path, name: str) -> None:
    """At its line, and never a traceback."""
    data, line, sentence = BROKEN[name]
    (copy / "runner" / "new.py").write_bytes(data)
    status, printed, errors = scan("--root", copy)
    assert (status, errors) == (1, "")
    assert f"runner/new.py:{line}: P12-UNREADABLE: {sentence}" in printed
    assert len(printed.splitlines()) == 2


def test_a_byte_order_mark_is_no_fault(copy: Path) -> None:
    """It is UTF-8 all the same, and as Python reads it."""
    (copy / "runner" / "new.py").write_bytes(b"\xef\xbb\xbfx = 1\n")
    assert scan("--root", copy) == (0, OK, "")


def test_links_and_special_files_are_findings(copy: Path) -> None:
    """None of them makes the scanner wait, go round in circles or look elsewhere."""
    (copy / "runner" / "loop.py").symlink_to("loop.py")
    (copy / "runner" / "gone.py").symlink_to("nowhere.py")
    (copy / "runner" / "around").symlink_to(copy / "runner")
    os.mkfifo(copy / "runner" / "pipe.py")
    (copy / "runner" / "folder.py").mkdir()
    status, printed, errors = scan("--root", copy)
    assert (status, errors) == (1, "")
    found = {line.split(":")[0] for line in printed.splitlines()[1:]}
    assert found == {f"runner/{name}" for name in ("loop.py", "gone.py", "around", "pipe.py")}


def test_what_may_not_be_read_is_a_finding(copy: Path) -> None:
    """A file and a folder; root reads all, so it is an ordinary user who tries."""
    file, folder = copy / "runner" / "call.py", copy / "runner" / "jobs"
    file.chmod(0)
    folder.chmod(0)
    command = [sys.executable, str(SCANNER), "--root", str(copy)]
    if os.geteuid() == 0:
        for parent in copy.parents[:2]:
            parent.chmod(0o755)
        copy.chmod(0o755)
        command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    folder.chmod(0o755)
    assert (done.returncode, done.stderr) == (1, "")
    assert "runner/call.py:1: P12-UNREADABLE: it cannot be read: Permission denied" in done.stdout
    assert "runner/jobs:1: P12-UNREADABLE: it cannot be read: Permission denied" in done.stdout


def test_each_file_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of rules: so it stays fast enough to run before each commit."""
    parsed: list[str] = []

    def counting(path: str, data: bytes) -> source.Module | source.Finding:
        parsed.append(path)
        return source.parse(path, data)

    walked: list[str] = []
    real = source.Module.__post_init__

    def walking(module: source.Module) -> None:
        walked.append(module.path)
        real(module)

    monkeypatch.setattr(source.Module, "__post_init__", walking)
    sources = source.read(ROOT, counting)
    assert rules.scan(sources) == []
    assert sorted(parsed) == sorted(sources.modules)
    assert sorted(walked) == sorted(parsed)


def test_it_imports_nothing_of_the_project() -> None:
    """It judges what may be broken, so it depends on none of it, and on nothing installed."""
    program = "import runpy, sys; runpy.run_path(sys.argv[1]); print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(SCANNER)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    tops = {name.split(".")[0] for name in done.stdout.split()}
    assert tops - set(sys.stdlib_module_names) <= {"phase12", "__main__", "__mp_main__"}
    assert "phase12" in tops


BROKEN_RULE = "\n\ndef go(plugin):\n    return plugin.run({})"


@pytest.mark.parametrize(
    "comment",
    [
        "  # phase12: allow P12-DIRECT-RUN - a trial of the scanner",
        "  # phase12: allow P12-DIRECT-RUN: a trial of the scanner",
    ],
)
def test_a_finding_is_answered_by_a_reason(copy: Path, comment: str) -> None:
    """It is no finding any more, and is listed, with what was said."""
    with (copy / "runner" / "call.py").open("a") as file:
        file.write(f"{BROKEN_RULE}{comment}\n")
    status, printed, _ = scan("--root", copy)
    assert status == 0
    assert printed.startswith(OK)
    assert (
        printed.endswith("run. Allowed: a trial of the scanner\n") or "Allowed: a trial" in printed
    )
    document = json.loads(scan("--json", "--root", copy)[1])
    assert [one["reason"] for one in document["allowed"]] == ["a trial of the scanner"]
    assert document["findings"] == []


def test_a_reason_may_stand_in_the_line_above(copy: Path) -> None:
    """On a line of its own."""
    with (copy / "runner" / "call.py").open("a") as file:
        above = "    # phase12: allow P12-DIRECT-RUN - as told\n    return"
        file.write(BROKEN_RULE.replace("    return", above) + "\n")
    assert scan("--root", copy)[0] == 0


@pytest.mark.parametrize(
    "comment",
    [
        "  # phase12: allow P12-DIRECT-RUN",
        "  # phase12: allow P12-DIRECT-RUN -",
        "  # phase12: allow P12-METRICS - another rule",
        "  # noqa  # pragma: no cover",
        "\n    # phase12: allow P12-DIRECT-RUN - a line too late",
    ],
)
def test_no_other_comment_answers_a_finding(copy: Path, comment: str) -> None:
    """A reason has to be given, for that rule and that place."""
    with (copy / "runner" / "call.py").open("a") as file:
        file.write(f"{BROKEN_RULE}{comment}\n")
    status, printed, _ = scan("--root", copy)
    assert (status, printed.count("P12-DIRECT-RUN: ")) == (1, 1)


def test_all_python_of_the_project_is_read_once() -> None:
    """Also what no folder is known for; not tests, and nothing twice through toolrunner's links."""
    read = set(scanning.real().modules)
    assert {"toolrunner/__init__.py", "toolrunner/pytest_plugin/fixture.py", "scripts/audit.py",
            "scripts/phase12/rules.py", "plugins/bundled/barcode.py"} <= read  # fmt: skip
    assert not [path for path in read if path.startswith(("tests/", "toolrunner/api", "."))]
    committed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    assert {path for path in committed if not path.startswith("tests/")} <= read | {""}


@pytest.mark.parametrize("name", ["build", "dist", "venv", "site-packages", ".hidden"])
def test_a_folder_within_a_package_is_read(copy: Path, name: str) -> None:
    """Whatever it is called; at the root what was built, and other people's, is not."""
    for parent in (copy / "runner", copy):
        (parent / name).mkdir()
        (parent / name / "pyvenv.cfg").touch()
        (parent / name / "fast.py").write_text(BROKEN_RULE.lstrip() + "\n")
    status, printed, _ = scan("--root", copy)
    assert (status, printed.count("P12-")) == (1, 1)
    assert f"\nrunner/{name}/fast.py:2: P12-DIRECT-RUN: " in printed


SERVER = {
    "server/app/plugins/runtime/tool_runner.py": """
        class ToolRunner:
            def __init__(self, registry):
                self.registry = registry

            def run(self, plugin_name, payload):
                result = error = None
                try:
                    validate_input_payload(payload)
                    plugin = self.registry.get(plugin_name)
                    result = validate_plugin_output(plugin.run(payload))
                except Exception as bug:
                    error = build_error_envelope(bug, plugin_name)
                finally:
                    self.registry.update_execution_metrics(plugin_name, "x", 1, error is not None)
                return result, error
    """,
    "server/app/services/plugin_management_service.py": """
        class PluginManagementService:
            def execute_plugin(self, name, payload):
                return self.tool_runner.run(name, payload)
    """,
    "server/app/services/job_management_service.py": """
        class JobManagementService:
            def run_job(self, name, payload):
                return self.plugins.execute_plugin(name, payload)
    """,
    "server/app/services/analysis_service.py": """
        class AnalysisService:
            def analyze(self, name, payload):
                return self.jobs.run_job(name, payload)
    """,
}


def make_server(folder: Path, **more: str) -> None:
    """Write a server as the documents lay it out, and more files of it."""
    for path, text in {**SERVER, **more}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(textwrap.dedent(text))


def test_another_server_is_judged_by_the_same_rules(tmp_path: Path) -> None:
    """One laid out as the documents say, with a direct call in it and without."""
    make_server(tmp_path)
    assert scan("--root", tmp_path) == (0, OK, "")
    route = "async def go(registry, name, data):\n    return registry.get(name).run(data)\n"
    make_server(tmp_path, **{"server/app/api/routes/analyze.py": route})
    status, printed, errors = scan("--root", tmp_path)
    assert (status, errors) == (1, "")
    assert "server/app/api/routes/analyze.py:2: P12-DIRECT-RUN: " in printed
    assert len(printed.splitlines()) == 2


def test_a_server_before_its_migration_is_told_what_it_lacks(tmp_path: Path) -> None:
    """Its direct calls, and that there is no ToolRunner; nothing of our own files."""
    make_server(tmp_path)
    for path in SERVER:
        (tmp_path / path).unlink()
    (tmp_path / "server/app/main.py").write_text("def go(plugin):\n    return plugin.run({})\n")
    status, printed, errors = scan("--root", tmp_path)
    assert (status, errors) == (1, "")
    assert [line.split(" ")[1] for line in printed.splitlines()[1:]] == [
        "P12-TOOLRUNNER:",
        "P12-DIRECT-RUN:",
    ]
