"""The check of this project: that all plugin calls go through a ToolRunner that records them.

Read from the source's syntax trees; ``scan_phase_12_violations.py`` has the deep rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from migration.calls import direct_calls
from migration.source import Source, UnreadableError, name_of, read_source

PACKAGES = ("api", "runner", "plugins", "sandbox")
# The one file that runs inside the sandbox.
WORKER = Path("sandbox/inside/worker.py")
METRICS = (
    "success_count",
    "error_count",
    "last_execution_time_ms",
    "avg_execution_time_ms",
    "last_used",
    "state",
)
RECORDED = ("plugin_name", "state", "elapsed_ms", "had_error")
# Each service, and the class below it that it has to be given and has to call.
CHAIN = (
    ("AnalysisService", "analyze", "JobManagementService"),
    ("JobManagementService", "run_job", "PluginManagementService"),
    ("PluginManagementService", "execute_plugin", "ToolRunner"),
)


def check(root: Path) -> list[tuple[str, list[str]]]:
    """Return what is wrong with a project: headings, and the lines below each."""
    sources: list[Source] = []
    unreadable: list[str] = []
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            try:
                sources.append(read_source(path))
            except UnreadableError as error:
                unreadable.append(str(error))
    classes = {
        node.name: node
        for source in sources
        for node in source.tree.body
        if isinstance(node, ast.ClassDef)
    }
    direct = [
        str(found)
        for source in sources
        if source.path.relative_to(root) != WORKER and not _is_bundled(source.path, root)
        for found in direct_calls(source)
    ]
    problems = [
        ("direct plugin.run() calls found:", direct),
        ("ToolRunner is not wired:", [*_tool_runner(classes), *_wiring(classes, sources, root)]),
        ("PluginRegistry keeps no metrics:", [*_registry(classes, _aliases(sources))]),
        ("files that cannot be read:", unreadable),
    ]
    return [(heading, lines) for heading, lines in problems if lines]


def _is_bundled(path: Path, root: Path) -> bool:
    """Tell whether a file is a plugin itself: it runs in the sandbox as a whole."""
    return path.is_relative_to(root / "plugins" / "bundled")


def _method(owner: ast.ClassDef | None, name: str) -> ast.FunctionDef | None:
    body = owner.body if owner else []
    return next((n for n in body if isinstance(n, ast.FunctionDef) and n.name == name), None)


def _tool_runner(classes: dict[str, ast.ClassDef]) -> Iterator[str]:
    if "ToolRunner" not in classes:
        yield "there is no class ToolRunner"
        return
    run = _method(classes["ToolRunner"], "run")
    names = [one.arg for one in run.args.args] if run else []
    if run is None or names[:3] != ["self", "plugin_name", "payload"]:
        yield "ToolRunner.run() must accept (self, plugin_name, payload)"
        return
    finals = [
        part for node in ast.walk(run) if isinstance(node, ast.Try) for part in node.finalbody
    ]
    if not any(name_of(part) == "update_execution_metrics" for f in finals for part in ast.walk(f)):
        yield "update_execution_metrics() must be called inside ToolRunner.run()'s finally block"


def _wiring(classes: dict[str, ast.ClassDef], sources: list[Source], root: Path) -> Iterator[str]:
    for upper, method, lower in CHAIN:
        service = classes.get(upper)
        if service is None:
            yield f"there is no class {upper}"
        elif not _delegates(service, method, lower):
            yield f"{upper} must be given a {lower} and call it"
    doors = [source for source in sources if source.path.is_relative_to(root / "api")]
    used = {name_of(node) for source in doors for node in ast.walk(source.tree)}
    if not used & {"AnalysisService", "analysis"}:
        yield "no door in api/ uses AnalysisService"


def _delegates(service: ast.ClassDef, method: str, lower: str) -> bool:
    """Tell whether a class keeps what it is given of class ``lower``, and ``method`` calls it."""
    constructor = _method(service, "__init__")
    arguments = constructor.args.args if constructor else []
    given = {one.arg for one in arguments if name_of(one.annotation) == lower}
    kept = {
        name_of(target)
        for node in ast.walk(service)
        if isinstance(node, ast.Assign) and name_of(node.value) in given
        for target in node.targets
    }
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and name_of(node.func.value) in kept
        for node in ast.walk(_method(service, method) or ast.Pass())
    )


def _aliases(sources: list[Source]) -> dict[str, set[str]]:
    """Return the names that stand for types at the top level of modules, with what is in them."""
    return {
        name_of(target): {name_of(part) for part in ast.walk(node.value)}
        for source in sources
        for node in source.tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
    }


def _registry(classes: dict[str, ast.ClassDef], aliases: dict[str, set[str]]) -> Iterator[str]:
    if "PluginRegistry" not in classes:
        yield "there is no class PluginRegistry"
        return
    update = _method(classes["PluginRegistry"], "update_execution_metrics")
    names = [one.arg for one in update.args.args] if update else []
    if names != ["self", *RECORDED]:
        yield f"update_execution_metrics() must accept (self, {', '.join(RECORDED)})"
    status = _method(classes["PluginRegistry"], "get_status")
    shown = (
        {name_of(node) for node in ast.walk(status.returns)} if status and status.returns else set()
    )
    shown |= {part for name in shown for part in aliases.get(name, ())}
    fields = {
        name_of(node.target)
        for name in shown & classes.keys()
        for node in classes[name].body
        if isinstance(node, ast.AnnAssign)
    }
    for name in METRICS:
        if name not in fields:
            yield f"get_status() must show {name}"
