"""P12-IMPORTS: which module may import which, and that none comes round to itself.

``cli, http, mcp, serve, page → services → tool_runner → {plugins, sandbox}``. An import inside a
function counts like any other; one under ``if TYPE_CHECKING`` does not: it never happens.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from phase12.source import INSIDE, SHIPPED, Finding, Module, last_name

RULE = "P12-IMPORTS"
PACKAGE = "toolrunner."  # what the folders are packages of
# The layers, each below the one before; the longest that fits a path is its own.
_LAYERS = {
    "toolrunner/": 6,
    "api/cli/": 5,
    "api/": 4,
    "runner/services/": 3,
    "runner/": 2,
    "plugins/": 1,
    "sandbox/": 0,
}
_BESIDE = ("tests", "scripts")
# What of the sandbox is for all; the rest, which starts and fills boxes, is for those named.
_OPEN = {
    "artifacts",
    "building",
    "ending",
    "forks",
    "interpreter",
    "interrupt",
    "layers",
    "input_files",
    "limits",
    "paths",
    "profile",
    "shortage",
}
_OPENERS = (
    "sandbox/",
    "runner/tool_runner.py",
    "runner/confinement.py",
    "api/attack/",
    "api/cli/debugging.py",  # for a plugin's author alone, who asks for no box
    "api/cli/doctor.py",
    "api/cli/exits.py",
)


def imported(module: Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield everything that is imported, by its full name; relative ones are made absolute.

    What is imported by a text counts like any other.
    """
    package = module.path.rpartition("/")[0].split("/")
    for plain in module.nodes(ast.Import):
        yield from ((plain, alias.name) for alias in plain.names)
    for node in module.nodes(ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else []
        start = ".".join([*base, *([node.module] if node.module else [])])
        yield from ((node, f"{start}.{alias.name}") for alias in node.names)
    for call in module.calls("import_module", "__import__"):
        given = [*call.args, *(one.value for one in call.keywords)]
        # Of one that is put together, what it begins with.
        texts = [text for one in given if (text := _said(one)) is not None]
        if texts and texts[0].startswith("."):
            texts = [text + texts[0] for text in texts[1:]]
        yield from ((call, text) for text in texts[:1])


def _said(node: ast.expr) -> str | None:
    """Return a text that stands in the source; of one that is put together, how it begins."""
    if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
        return str(node.values[0].value).rpartition(".")[0]
    return str(node.value) if isinstance(node, ast.Constant) else None


def check(modules: Mapping[str, Module]) -> Iterator[Finding]:
    """Yield the imports that go up, and those that close a circle."""
    edges: dict[str, dict[str, ast.AST]] = {}
    for path, module in modules.items():
        own = edges.setdefault(path, {})
        for node, name in imported(module):
            if _is_for_types(module, node):
                continue
            target = _path_of(name, path, modules)
            if target and target != path:
                own.setdefault(target, node)
            if sentence := _direction(path, name, target):
                yield module.finding(node, RULE, sentence)
    for circle in _circles({path: set(own) for path, own in edges.items()}):
        path = min(circle)
        node = next(node for target, node in edges[path].items() if target in circle)
        sentence = f"these import each other in a circle: {', '.join(sorted(circle))}"
        yield modules[path].finding(node, RULE, sentence)


def _layer(path: str) -> int | None:
    return next((rank for start, rank in _LAYERS.items() if path.startswith(start)), None)


def _direction(path: str, name: str, target: str) -> str:
    """Return what is wrong with an import, "" when nothing is."""
    own = _layer(path)
    if own is None:
        return ""  # a program beside the product, or another project
    if name.partition(".")[0] in _BESIDE or "tests" in name.split("."):
        return f"what is installed imports {name}, which is not"
    if not target:
        return ""
    if path.startswith(SHIPPED):
        return f"a shipped plugin imports {name}, which is ours"
    start, _, part = target.partition("/")
    is_closed = start == "sandbox" and part.removesuffix(".py") not in {*_OPEN, "__init__"}
    if is_closed and not path.startswith(_OPENERS):
        return f"{name} is a part of the sandbox that ToolRunner alone works with"
    rank = _layer(target)
    if rank is None or rank > own:
        return f"{path} imports {name}, which is above it"
    return ""


def _path_of(name: str, importer: str, modules: Mapping[str, Module]) -> str:
    """Return the file that an import is of; "" when it is none of the project."""
    name = name.replace("toolrunner_inside.", INSIDE.replace("/", "."))
    bases = [name, name.removeprefix(PACKAGE)]
    if importer.startswith("scripts/"):
        bases.append(f"scripts.{name}")
    parts = [base.split(".") for base in bases]
    for end in (*parts, *(one[:-1] for one in parts)):
        whole = "/".join(end)
        for path in (f"{whole}.py", f"{whole}/__init__.py"):
            if path in modules:
                return path
    return ""


def _is_for_types(module: Module, node: ast.AST) -> bool:
    inner = node
    for outer in module.above(node):
        if isinstance(outer, ast.If) and last_name(outer.test) == "TYPE_CHECKING":
            return inner in outer.body
        inner = outer
    return False


def _circles(edges: dict[str, set[str]]) -> Iterator[set[str]]:
    """Yield the groups in which each comes round to itself (Tarjan, without recursion)."""
    left = {path: set(targets) for path, targets in edges.items()}
    while ends := [path for path, targets in left.items() if not targets & left.keys()]:
        for path in ends:
            del left[path]
    while left:  # each now leads to a circle; those that nobody of one comes to drop out below
        reach = {path: _reach(path, left) for path in left}
        start = min(left, key=lambda path: (len(reach[path]), path))
        circle = {path for path in reach[start] if start in reach[path]}
        if circle:
            yield circle
        for path in circle or {start}:
            del left[path]


def _reach(start: str, edges: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for target in edges[waiting.pop()] & edges.keys() - found:
            found.add(target)
            waiting.append(target)
    return found
