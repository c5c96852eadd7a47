"""The structure, read from the source, as far as it is not the scanner's: see ``governance``."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("api", "runner", "plugins", "sandbox")


def modules(package: str) -> Iterator[tuple[Path, ast.Module]]:
    """Yield every module of a package with its syntax tree."""
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def test_packages_are_marked_as_typed() -> None:
    """Type checkers of those who embed the project see its types."""
    assert (ROOT / "toolrunner/py.typed").is_file()


def test_every_module_says_what_it_is() -> None:
    """A module's docstring is where a reader begins."""
    for package in ("toolrunner", *PACKAGES, "scripts", "tests"):
        for path, tree in modules(package):
            if tree.body:
                assert ast.get_docstring(tree), path


def test_the_pytest_plugin_stands_alone() -> None:
    """An author's tests do not wait for what they do not use."""
    names = {
        name
        for path in (ROOT / "toolrunner/pytest_plugin").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    others = {name for name in names if not name.startswith("toolrunner.pytest_plugin")}
    assert {name.partition(".")[0] for name in others} - {"pytest"} <= sys.stdlib_module_names
