#!/usr/bin/env python3
"""Writes docs/audit-report.md from the code as it is and from the results of its tests.

    scripts/audit.py            run the scanner and the contract suites; write the report
    scripts/audit.py --check    say whether the committed report and snapshots are current
    scripts/audit.py --accept   write the snapshots of public signatures and routes anew

Run it with the Python that the project is installed for. What the report says of a suite is only
written once that suite has passed.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import difflib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fastapi.routing import APIRoute  # noqa: E402 - same

from toolrunner.api.http.app import ROUTERS  # noqa: E402 - only once the project can be found
from toolrunner.runner.errors import ErrorType, GovernedError, build_error_envelope  # noqa: E402 - same
from toolrunner.runner.payloads.validation import parse_result, validate_input_payload  # noqa: E402 - same
from toolrunner.runner.registry.plugin_state import PluginState, PluginStatus  # noqa: E402 - same

REPORT = ROOT / "docs/audit-report.md"
SIGNATURES = ROOT / "tests/governance/public_signatures.txt"
ROUTES = ROOT / "tests/governance/api_routes.txt"
SUITES = ("tests/phase_11", "tests/phase_12")
SCANNER = ROOT / "scripts/scan_phase_12_violations.py"
# The modules whose public names others build on, by what the snapshot calls each.
PUBLIC = {
    "runner.tool_runner": "runner/tool_runner.py",
    "runner.registry": "runner/registry/registry.py",
    "runner.call": "runner/call.py",
    "runner.errors": "runner/errors.py",
    "runner.validation": "runner/payloads/validation.py",
    "runner.services.analysis": "runner/services/analysis.py",
    "runner.services.job_management": "runner/services/job_management.py",
    "runner.services.plugin_management": "runner/services/plugin_management.py",
}
# Each layer, the method that runs a plugin, and what it has to call.
PATH = (
    ("runner/services/analysis.py", "AnalysisService.analyze", "run_job"),
    ("runner/services/job_management.py", "JobManagementService.run_job", "execute_plugin"),
    ("runner/services/plugin_management.py", "PluginManagementService.execute_plugin", "run"),
    ("runner/tool_runner.py", "ToolRunner.run", "update_execution_metrics"),
)


class AuditError(Exception):
    """The code is not what the report would say; the message tells what to mend."""


# --- the code as it is ------------------------------------------------------------------------


def functions(path: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield every function of a module with its qualified name, methods included."""
    for node in ast.parse((ROOT / path).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{node.name}.{item.name}", item


def signatures() -> list[str]:
    """Return a line for every public function: where it is, its parameters, what it returns."""
    lines = []
    for module, path in PUBLIC.items():
        for name, node in functions(path):
            parts = name.split(".")
            if any(part.startswith("_") and part != "__init__" for part in parts):
                continue
            kind = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
            returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
            lines.append(f"{kind}{module}.{name}({ast.unparse(node.args)}){returns}")
    return sorted(lines)


def routes() -> list[str]:
    """Return a line for every route of the HTTP API: "POST /v1/analyze"."""
    return sorted(
        f"{method} {route.path}"
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    )


def called_in(path: str, name: str) -> set[str]:
    """Return the names of the methods that a function calls."""
    node = dict(functions(path))[name]
    return {
        call.func.attr
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
    }


def places_of(text: str) -> list[str]:
    """Return the files of the product in which a text stands."""
    return [
        str(path.relative_to(ROOT))
        for package in ("api", "runner", "plugins", "sandbox")
        for path in sorted((ROOT / package).rglob("*.py"))
        if text in path.read_text("utf-8")
    ]


# --- what is run ------------------------------------------------------------------------------


def run(*arguments: str) -> str:
    """Run a program of the project; return what it printed, or raise AuditError."""
    command = [sys.executable, "-P", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AuditError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return done.stdout


def collected(suite: str) -> int:
    """Return how many tests a suite has."""
    return run("-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", suite).count("::")


def pass_suite(suite: str) -> None:
    """Run a suite; raise AuditError unless it passes."""
    print(f"running {suite}", file=sys.stderr)
    at_once = str(2 * (os.cpu_count() or 1))
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--parallel", at_once, suite)


def allowed() -> list[str]:
    """Return what the source allows with a reason; raise AuditError when there is more."""
    answered = json.loads(run(str(SCANNER), "--json"))["allowed"]
    return [f"`{one['path']}`: `{one['rule']}`: {one['reason']}" for one in answered]


def scanned() -> dict[str, str]:
    """Run the scanner, which has to find nothing; return its rules, name to sentence."""
    run(str(SCANNER))
    lines = run(str(SCANNER), "--list-rules").splitlines()
    return dict(line.split(": ", 1) for line in lines)


# --- the report -------------------------------------------------------------------------------


def refusal(value: object, *, output: bool = False) -> str:
    """Return how a bad payload or output is refused; raise AuditError when it is taken."""

    def read(result: object) -> object:
        return parse_result(json.dumps(result).encode())

    check: Callable[[Any], object] = read if output else validate_input_payload
    try:
        check(value)
    except GovernedError as error:
        return f"{error.error_type.value}: {error.message}"
    raise AuditError(f"{check} takes {value!r}")


def execution_path() -> list[str]:
    """Return the layers with what each calls."""
    lines = []
    for path, name, wanted in PATH:
        if wanted not in called_in(path, name):
            raise AuditError(f"{name} in {path} does not call {wanted}")
        lines.append(f"- ✅ `{name}` calls `{wanted}` (`{path}`)")
    places = places_of("plugin.run(")
    if places != ["sandbox/inside/worker.py"]:
        raise AuditError(f"plugin.run( stands in {places}")
    return [*lines, f"- ✅ `plugin.run(` stands in `{places[0]}` alone, which runs inside a box"]


def validation() -> list[str]:
    """Return what is refused, tried now."""
    image = {"image": b"x", "mime_type": "image/png"}
    inputs = {
        "no image": {"mime_type": "image/png"},
        "an empty image": {**image, "image": b""},
        "no MIME type": {"image": b"x"},
        "an empty MIME type": {**image, "mime_type": ""},
        "a MIME type that is no string": {**image, "mime_type": 7},
    }
    outputs: dict[str, object] = {
        "None": None,
        "a list": [],
        "a string": "x",
        "NaN": {"x": float("nan")},
    }
    lines = [f"- ✅ input, {what}: {refusal(value)}" for what, value in inputs.items()]
    return lines + [
        f"- ✅ output, {what}: {refusal(value, output=True)}" for what, value in outputs.items()
    ]


def error_handling() -> list[str]:
    """Return the envelope's keys and the types, from the code."""
    envelope = build_error_envelope(ErrorType.EXECUTION_ERROR, "m", plugin="p", call_id="c")
    keys = ", ".join(f"`{key}`" for key in envelope["error"])
    internal = ", ".join(f"`_internal.{key}`" for key in envelope["_internal"])
    types = [f"- `{kind.value}` blames the {kind.blame.value}" for kind in ErrorType]
    return [f"- ✅ every envelope has {keys}, {internal}", *types]


def metrics() -> list[str]:
    """Return what is recorded, and where."""
    (line,) = (line for line in signatures() if ".update_execution_metrics(" in line)
    fields = ", ".join(f"`{field.name}`" for field in dataclasses.fields(PluginStatus))
    states = ", ".join(f"`{state.value}`" for state in PluginState)
    return [
        f"- ✅ `{line}`",
        "- ✅ called in the `finally` of `ToolRunner.run`, by the scanner's word",
        f"- ✅ a plugin's status: {fields}",
        f"- ✅ states: {states}",
    ]


def section(title: str, lines: list[str]) -> str:
    """Return one section of the report."""
    return "\n".join([f"## {title}", "", *lines, ""])


_HEAD = """# Audit report

Written by `scripts/audit.py` from the code and its tests; a test keeps it current. The rules are
those of [governance.md](governance.md)."""

_SCOPE = """Governed plugin execution: ToolRunner, structured error envelopes, registry metrics, and
the layered path of services and API, beside what phase 11 has."""


def report() -> str:
    """Return the whole report; raise AuditError where the code is not what it would say."""
    rules = scanned()
    phase_11, phase_12 = (f"- ✅ `{s}`: {collected(s)} tests, none failed" for s in SUITES)
    kept = (
        f"- ✅ {len(signatures())} public signatures and {len(routes())} routes, none removed: "
        "`tests/governance/test_snapshots.py`"
    )
    services = [f"- `{line}`" for line in signatures() if ".services." in line]
    scanner = f"- ✅ the mechanical scanner finds nothing, by {len(rules)} rules:"
    parts = [
        _HEAD,
        "",
        section("Scope", [_SCOPE]),
        section("Execution Path", execution_path()),
        section("Validation", validation()),
        section("Error Handling", error_handling()),
        section("Registry & Metrics", metrics()),
        section("Service Layer", services),
        section("API Layer", [f"- `{route}`" for route in routes()]),
        section("Phase 11 Compatibility", [phase_11, kept]),
        section(
            "Conclusion",
            [
                phase_11,
                phase_12,
                scanner,
                *(f"  - `{name}`: {sentence}" for name, sentence in rules.items()),
                "- allowed in the source, with a reason:",
                *(f"  - {one}" for one in allowed() or ["nothing"]),
            ],
        ),
    ]
    return "\n".join(parts)


# --- the program ------------------------------------------------------------------------------


def differences() -> list[str]:
    """Return what of the committed files is not current."""
    live = {REPORT: report(), SIGNATURES: lines_of(signatures()), ROUTES: lines_of(routes())}
    found: list[str] = []
    for path, wanted in live.items():
        had = path.read_text("utf-8") if path.exists() else ""
        name = str(path.relative_to(ROOT))
        found += difflib.unified_diff(had.split("\n"), wanted.split("\n"), name, "now", lineterm="")
    return found


def lines_of(entries: list[str]) -> str:
    """Return a file with one entry a line."""
    return "\n".join(entries) + "\n"


def main(arguments: list[str]) -> int:
    """Do what is asked; return the exit status."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n", maxsplit=1)[0],
        epilog="examples: scripts/audit.py; scripts/audit.py --check",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="only say what is not current")
    what.add_argument("--accept", action="store_true", help="only write the snapshots anew")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            found = differences()
            print("\n".join(found) or "docs/audit-report.md and the snapshots are current")
            return 1 if found else 0
        if options.accept:
            SIGNATURES.write_text(lines_of(signatures()), "utf-8")
            ROUTES.write_text(lines_of(routes()), "utf-8")
            return 0
        for suite in SUITES:
            pass_suite(suite)
        REPORT.write_text(report(), "utf-8")
    except AuditError as error:
        print(f"audit: {error}", file=sys.stderr)
        return 1
    print(f"wrote {REPORT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
