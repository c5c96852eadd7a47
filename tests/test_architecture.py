"""The structure, read from the source, as far as it is not the scanner's: see ``governance``."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolrunner.sandbox.quiet_environment import ENVIRONMENT, QUIET

ROOT = Path(__file__).parent.parent
PACKAGES = ("api", "runner", "plugins", "sandbox")
OTHERS = (("plugins", "bundled"), ("plugins", "faults"))  # shipped plugins, as others write them


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
                assert ast.get_docstring(tree) or "samples" in path.parts, path


def imported(path: Path) -> set[str]:
    """Return the names of the modules that a file of ours imports, late imports included."""
    tree = ast.parse(path.read_text("utf-8"))
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    return names | {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
    }


def imported_names(path: Path) -> set[str]:
    """Return the names that a file takes from modules."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return {a.name for node in nodes if isinstance(node, ast.ImportFrom) for a in node.names}


@pytest.mark.parametrize(
    ("library", "place"),
    [
        ("ctypes", "sandbox/inside/syscalls.py"),
        ("fastapi", ("api/http/", "api/page/")),
        ("jinja2", "api/page/"),
        ("obstore", "runner/jobs/s3_blobs.py"),
        ("opentelemetry", "api/http/tracing.py"),
        ("procrastinate", "runner/jobs/postgres/"),
        ("psycopg", "runner/jobs/postgres/"),
        ("starlette", "api/"),
        ("uvicorn", "api/serve/"),
        ("typer", "api/cli/"),
        ("rich", "api/cli/"),
    ],
)
def test_some_libraries_have_one_place(library: str, place: str | tuple[str, ...]) -> None:
    """Who reads that place has seen all of it. Shipped plugins are not ours to read."""
    users = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.relative_to(ROOT).parts[:2] not in OTHERS
        and any(name.split(".")[0] == library for name in imported(path))
    ]
    assert users
    assert [user for user in users if not user.startswith(place)] == []


def test_a_box_needs_nothing_but_the_standard_library() -> None:
    """What runs inside one imports neither libraries nor the rest of this project."""
    for path in (ROOT / "sandbox/inside").glob("*.py"):
        tops = {name.split(".")[0] for name in imported(path)}
        assert tops <= sys.stdlib_module_names | {"toolrunner_inside"}, path


def test_the_sandbox_stands_alone() -> None:
    """It knows psutil and itself; of what is inside, the protocol and how a folder is emptied."""
    for path in (ROOT / "sandbox").rglob("*.py"):
        for name in imported(path):
            top = name.split(".")[0]
            assert top in sys.stdlib_module_names | {"psutil", "toolrunner_inside", "toolrunner"}, (
                path
            )
            assert top != "toolrunner" or name.startswith("toolrunner.sandbox"), path
            is_inside = name.startswith("toolrunner.sandbox.inside.")
            assert not is_inside or name.endswith((".protocol", ".folders")), path


def test_the_pytest_plugin_stands_alone() -> None:
    """An author's tests do not wait for what they do not use."""
    for path in (ROOT / "toolrunner/pytest_plugin").glob("*.py"):
        others = {n for n in imported(path) if not n.startswith("toolrunner.pytest_plugin")}
        assert {name.split(".")[0] for name in others} <= sys.stdlib_module_names | {"pytest"}, path


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


def test_no_lock_hides_where_a_fork_would_copy_it() -> None:
    """``functools.cached_property`` has one for all objects of a class, up to Python 3.11."""
    for package in ("runner", "sandbox", "plugins"):
        for path in (ROOT / package).rglob("*.py"):
            is_ours = path.relative_to(ROOT).parts[:2] not in OTHERS
            assert not is_ours or "cached_property" not in imported_names(path), path
