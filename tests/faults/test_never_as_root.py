"""Hostile code runs by way of the product alone: nothing of the project starts it otherwise.

What the product does with root before any plugin runs is tested in tests/sandbox/test_root.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("api", "plugins", "runner", "sandbox", "scripts", "tests", "toolrunner")
CORPUS = ROOT / "plugins" / "faults"
# Who may have the hostile plugins in hand: each gives them to a ToolRunner, and to nothing else.
KNOWN = {
    "api/attack/apart.py",
    "api/attack/attribution.py",
    "api/attack/campaign.py",
    "api/attack/trial.py",
    "api/cli/commands/doctor.py",
    "scripts/guests/calls.py",
    "scripts/soak.py",
    "tests/api/attack/test_attack.py",
    "tests/faults/conftest.py",
    "tests/faults/test_corpus.py",
    "tests/faults/test_documents.py",
    "tests/faults/test_in_environments.py",
    "tests/faults/test_neighbours.py",
    "tests/sandbox/test_warm_imports.py",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Give each Python file of the project but the corpus itself, by its path."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            is_linked = (ROOT / "toolrunner" / folder) in path.parents
            if CORPUS not in path.parents and not is_linked:
                tree = ast.parse(path.read_text(encoding="utf-8"))
                yield path.relative_to(ROOT).as_posix(), tree


def imported(tree: ast.AST) -> set[str]:
    """Return the full names of all that a file imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def calls(tree: ast.AST, *names: str) -> list[int]:
    """Return the lines on which a function of one of these names is called."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names
    ]


def function(tree: ast.AST, name: str) -> ast.FunctionDef:
    """Return a function of a file."""
    return next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == name)


def test_hostile_plugins_are_imported_by_nobody() -> None:
    """They are read as text and copied; whoever imported one would run it as what it is itself."""
    importing = {
        path for path, tree in sources() if any("plugins.faults" in name for name in imported(tree))
    }
    assert importing == set()


def test_all_who_have_hostile_plugins_in_hand_are_known() -> None:
    """A test or script that takes up the corpus is looked at, and then named here."""
    having = {
        path
        for path, tree in sources()
        if any(".plugins.corpus" in name for name in imported(tree))
    }
    assert having == KNOWN


def test_none_of_them_runs_code_itself() -> None:
    """Nor starts an interpreter on a plugin's file."""
    for path, tree in sources():
        if path in KNOWN:
            found = calls(tree, "exec", "eval", "compile", "runpy.run_path", "runpy.run_module")
            found += calls(tree, "importlib.import_module", "__import__")
            assert found == [], path


def test_a_plugin_is_loaded_in_two_places_and_not_by_root() -> None:
    """Both look once more at whom they are, on the way to it."""
    trees = dict(sources())
    loading = {path for path, tree in trees.items() if calls(tree, "worker.load")}
    assert loading == {"sandbox/inside/cell.py", "sandbox/inside/zygote.py"}
    cell, zygote = trees["sandbox/inside/cell.py"], trees["sandbox/inside/zygote.py"]
    assert calls(function(cell, "confine"), "privileges.refuse_root")
    for within, guard in (
        (function(cell, "enter"), "confine"),
        (function(zygote, "_load"), "privileges.refuse_root"),
    ):
        assert max(calls(within, guard)) < min(calls(within, "worker.load"))
