"""The structure, read from the source, as far as it is not the scanner's: see ``governance``."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from toolrunner.sandbox.quiet_environment import ENVIRONMENT, QUIET

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


def test_the_documents_name_files_that_are_there() -> None:
    """Above all the map of changes in docs/architecture.md: what has moved is mended there."""
    folders = "|".join(("toolrunner", *PACKAGES, "scripts", "tests", "docs"))
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    named = {
        (place, document.name)
        for document in documents
        for place in re.findall(rf"`((?:{folders})/[a-z0-9_/.]+)`", document.read_text("utf-8"))
    }
    assert len(named) > 100
    assert [missing for missing in sorted(named) if not (ROOT / missing[0]).exists()] == []


def test_each_variable_of_a_box_has_its_reason() -> None:
    """What keeps a library quiet stands beside why."""
    for name, (value, reason) in QUIET.items():
        assert ENVIRONMENT[name] == value
        assert len(reason.split()) > 2
