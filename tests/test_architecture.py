"""The structure, read from the source: who imports whom, and where special things may stand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("api", "runner", "plugins", "sandbox")
# Each package, and which of the others it may import.
MAY_IMPORT = {
    "api": {"runner", "plugins", "sandbox"},
    "runner": {"plugins", "sandbox"},
    "plugins": {"sandbox"},
    "sandbox": set[str](),
}


def modules(package: str) -> Iterator[tuple[Path, ast.Module]]:
    """Yield every module of a package with its syntax tree."""
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    """Yield the full name of everything imported, with dots for relative imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    """The layers below know nothing of those above."""
    for path, tree in modules(package):
        for name in imports(tree):
            top = name.split(".")[0]
            if top in PACKAGES and top != package:
                assert top in MAY_IMPORT[package], f"{path} imports {name}"


def test_what_runs_inside_a_box_imports_nothing_outside_itself() -> None:
    """It is loaded by path in an interpreter that knows no installed package."""
    for path, tree in modules("sandbox/inside"):
        for name in imports(tree):
            if path.name != "launch.py":
                assert name.split(".")[0] not in (*PACKAGES, "psutil", "pydantic"), path


def test_the_parent_imports_of_the_inside_only_what_both_share() -> None:
    """Nothing of the parent runs code that is made for the box."""
    for package in PACKAGES:
        for path, tree in modules(package):
            if "inside" not in path.parts:
                for name in imports(tree):
                    if name.startswith("sandbox.inside"):
                        assert name.startswith("sandbox.inside.protocol"), f"{path} imports {name}"


def test_ctypes_stands_in_one_module() -> None:
    """Raw memory and raw system calls are read in one place."""
    users = [
        str(path)
        for package in PACKAGES
        for path, tree in modules(package)
        # The shipped faults run inside boxes, and try what they can.
        if not path.is_relative_to("plugins/faults")
        and any(name.split(".")[0] == "ctypes" for name in imports(tree))
    ]
    assert users == ["sandbox/inside/syscalls.py"]


def test_plugins_run_in_one_file() -> None:
    """``plugin.run(`` stands in the worker, which runs inside the sandbox, and nowhere else."""
    users = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if "plugin.run(" in path.read_text(encoding="utf-8")
    ]
    assert users == ["sandbox/inside/worker.py"]


def test_bundled_plugins_import_nothing_of_ours() -> None:
    """They are plugins like any other."""
    for path, tree in modules("plugins/bundled"):
        for name in imports(tree):
            assert name.split(".")[0] not in PACKAGES, path


def test_packages_are_marked_as_typed() -> None:
    """Type checkers of those who embed the project see its types."""
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").is_file()


def test_every_module_says_what_it_is() -> None:
    """A module's docstring is where a reader begins."""
    for package in (*PACKAGES, "scripts", "tests"):
        for path, tree in modules(package):
            if tree.body:
                assert ast.get_docstring(tree), path
