"""``scripts/migrate_phase_12.py`` without arguments: the check of this project, and of others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.governance.migrating import ROOT, migrate


def test_this_project_passes() -> None:
    """With the documents' own line."""
    ended = migrate()
    assert ended.out == "Phase 12 migration check OK: no direct plugin.run() calls found.\n"
    assert ended.status == 0
    assert migrate("--json").document == {"ok": True, "problems": []}


# What a change to the project breaks: file, what stands there, what takes its place, what is said.
MUTANTS = {
    "a direct call": (
        "runner/services/analysis.py",
        "        return self._jobs.run_job(",
        "        plugin.run(payload)\n        return self._jobs.run_job(",
        "FAILED: direct plugin.run() calls found:\n - ",
    ),
    "a call of what a registry gives": (
        "api/cli/app.py",
        "\ndef ",
        "\ndef shortcut(registry):\n    return registry.get('ocr').run({})\n\n\ndef ",
        "direct call registry.get('ocr').run(...)",
    ),
    "no ToolRunner": (
        "runner/tool_runner.py", "class ToolRunner", "class Runner", "there is no class ToolRunner"
    ),
    "another signature": (
        "runner/tool_runner.py",
        "    def run(\n        self, plugin_name: str, payload:",
        "    def run(\n        self, plugin_name: str, data:",
        "ToolRunner.run() must accept (self, plugin_name, payload)",
    ),
    "metrics that are not recorded": (
        "runner/tool_runner.py",
        "self.registry.update_execution_metrics(",
        "print(",
        "update_execution_metrics() must be called inside ToolRunner.run()'s finally block",
    ),
    "a service that does not delegate": (
        "runner/services/analysis.py",
        "self._jobs.run_job(plugin_name, payload, call=call)",
        "{}, None",
        "AnalysisService must be given a JobManagementService and call it",
    ),
    "a service that skips one": (
        "runner/services/job_management.py",
        "plugins: PluginManagementService,",
        "plugins: ToolRunner,",
        "JobManagementService must be given a PluginManagementService and call it",
    ),
    "a registry without metrics": (
        "runner/registry/registry.py",
        "def update_execution_metrics(",
        "def update_metrics(",
        "update_execution_metrics() must accept (self, plugin_name, state, elapsed_ms, had_error)",
    ),
    "a metric that is not shown": (
        "runner/registry/plugin_state.py",
        "    error_count: int\n",
        "",
        "get_status() must show error_count",
    ),
    "a file that nobody can read": (
        "sandbox/box.py", "import ", "import import ", "box.py:"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MUTANTS)
def test_a_broken_project_fails(tmp_path: Path, case: str) -> None:
    """The script of a changed copy says what is wrong with it."""
    for name in ("api", "runner", "plugins", "sandbox", "scripts"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "samples")
        )
    file, old, new, wanted = MUTANTS[case]
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    ended = migrate(script=tmp_path / "scripts" / "migrate_phase_12.py")
    assert ended.status == 1
    assert ended.out.startswith("Phase 12 migration check FAILED: ")
    assert wanted in ended.out


def test_a_folder_without_a_project_fails(tmp_path: Path) -> None:
    """Everything is missing, as one document."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    ended = migrate("--json", script=tmp_path / "scripts" / "migrate_phase_12.py")
    assert ended.status == 1
    found = [line for problem in ended.document["problems"] for line in problem["findings"]]
    assert ended.document["ok"] is False
    for name in ("ToolRunner", "PluginRegistry", "AnalysisService"):
        assert f"there is no class {name}" in found
