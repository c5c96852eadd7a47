"""All rules: their names, what each says, and how a tree is held against them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from phase12 import direct_run, errors, imports, plugin_code, services, source, tool_runner
from phase12.origins import Origins
from phase12.source import Finding, Module, Sources

RULES: dict[str, str] = {
    source.UNREADABLE: "Every file is regular, readable, UTF-8 and valid Python.",
    direct_run.RULE: "No plugin is run, and nothing takes hold of a plugin's run, outside "
    "sandbox/inside/worker.py, which runs inside the sandbox.",
    plugin_code.RULE: "The parent imports, executes, unpickles and starts no plugin code, and "
    "none of the box's own programs.",
    tool_runner.EXISTS: "There is one ToolRunner: its run takes (self, plugin_name, payload), "
    "nothing derives from it or replaces it, and nothing else calls the sandbox.",
    tool_runner.METRICS: "update_execution_metrics is called in the finally of ToolRunner.run, "
    "always, with its four arguments; nothing else records a call, or changes counts or states.",
    tool_runner.VALIDATION: "ToolRunner.run validates input and output in its try.",
    services.SERVICES: "AnalysisService calls JobManagementService, that calls "
    "PluginManagementService, that calls ToolRunner; nobody takes another's step.",
    services.TRY_AROUND: "Nobody puts try/except or suppress around ToolRunner.",
    errors.RULE: "No raw exception, traceback or internal half of an envelope is answered, and "
    "build_error_envelope makes every envelope.",
    imports.RULE: "Imports go one way (cli, http, mcp, serve, page; services; tool_runner; plugins "
    "and sandbox), and never in a circle; what starts boxes is imported by ToolRunner.",
}


@dataclass(frozen=True)
class Project:
    """What the judgement of a file has to know of the others."""

    tool_runner: str
    run_home: str
    services: frozenset[str]


def scan(sources: Sources) -> list[Finding]:
    """Return all findings about a tree, sorted, one a line and rule; those allowed with a reason.

    Without a reason a comment allows nothing, and no comment makes a file readable.
    """
    project = project_of(sources)
    found = [*sources.unreadable, *whole(sources)]
    for module in sources.modules.values():
        found += check(module, project)
    places = {(one.path, one.line, one.rule): one for one in sorted(found, reverse=True)}
    return [_answered(sources, one) for one in sorted(places.values())]


def project_of(sources: Sources) -> Project:
    """Return what the judgement of each file depends on."""
    homes = sources.homes("ToolRunner")
    home = homes[0] if homes else ""
    is_sandboxed = any(path.startswith("sandbox/") for path in sources.modules)
    there = frozenset(name for name in services.CHAIN if sources.homes(name))
    return Project(home, direct_run.WORKER if is_sandboxed else home, there)


def whole(sources: Sources) -> Iterator[Finding]:
    """Yield what is wrong with the tree as a whole."""
    project = project_of(sources)
    readable = {finding.path for finding in sources.unreadable}
    if not project.tool_runner and "runner/tool_runner.py" not in readable:
        yield Finding("runner/tool_runner.py", 1, tool_runner.EXISTS, "ToolRunner file not found")
    if project.run_home == direct_run.WORKER and direct_run.WORKER not in sources.modules:
        sentence = "the file that runs plugins is not there"
        yield Finding(direct_run.WORKER, 1, direct_run.RULE, sentence)
    yield from services.missing(sources)
    yield from imports.check(sources.modules)


def check(module: Module, project: Project) -> list[Finding]:
    """Return what is wrong with one file; that depends on the file and on ``project`` alone."""
    try:
        origins = Origins(module)
        found = [
            *direct_run.check(module, origins, project.run_home),
            *plugin_code.check(module, origins),
            *errors.check(module),
        ]
        if module.path == project.tool_runner:
            return [*found, *tool_runner.check_home(module)]
        if not module.path.startswith(source.SHIPPED):
            found += tool_runner.check_others(module, origins)
            found += services.check(module, origins, project.services)
    except RecursionError:
        sentence = "its expressions are nested too deeply to be followed"
        return [Finding(module.path, 1, source.UNREADABLE, sentence)]
    return found


def _answered(sources: Sources, finding: Finding) -> Finding:
    """Return a finding with the reason that the source gives for it, if it gives one."""
    module = sources.modules.get(finding.path)
    reason = module.allowed.get((finding.line, finding.rule)) if module else None
    if reason is None or finding.rule == source.UNREADABLE:
        return finding
    if not reason:
        return replace(finding, sentence=f"{finding.sentence} (it is allowed without a reason)")
    return replace(finding, reason=reason)
