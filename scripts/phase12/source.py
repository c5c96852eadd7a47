"""The project's files as syntax trees, each read and walked once.

What cannot be read or parsed becomes a finding, never an exception: a file that the scanner
cannot see into is one in which anything may stand.
"""

from __future__ import annotations

import ast
import os
import re
import stat
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

PACKAGES = ("api", "plugins", "runner", "sandbox")
UNREADABLE = "P12-UNREADABLE"

Node = TypeVar("Node", bound=ast.AST)
Function = ast.FunctionDef | ast.AsyncFunctionDef
# One object for all places: such a node has no place of its own.
_SHARED = (ast.expr_context, ast.operator, ast.boolop, ast.unaryop)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)

# PEP 263: such a comment in the first two lines says how the bytes are to be read.
_ENCODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """One place that breaks one rule."""

    path: str
    line: int
    rule: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.sentence}"


@dataclass(eq=False)
class Module:
    """One parsed file. ``path`` is relative to the root, with slashes."""

    path: str
    tree: ast.Module
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    _nodes: dict[type[ast.AST], list[ast.AST]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        """Note each node by its type, and what it stands in. Without recursion: trees are deep."""
        waiting: list[ast.AST] = [self.tree]
        nodes, parents = self._nodes, self.parents
        for node in waiting:
            nodes[type(node)].append(node)
            for child in vars(node).values():
                if isinstance(child, list):
                    within = [one for one in child if isinstance(one, ast.AST)]
                elif isinstance(child, _SHARED) or not isinstance(child, ast.AST):
                    continue
                else:
                    within = [child]
                parents.update(dict.fromkeys(within, node))
                waiting += within

    def nodes(self, kind: type[Node]) -> list[Node]:
        """Return all nodes of a type."""
        return self._nodes.get(kind, [])  # type: ignore[return-value]  # kept by their type

    def functions(self) -> list[Function]:
        """Return all functions and methods, wherever they stand."""
        return [*self.nodes(ast.FunctionDef), *self.nodes(ast.AsyncFunctionDef)]

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what a node stands in, from the inside out."""
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def function_of(self, node: ast.AST) -> ast.AST:
        """Return the function, lambda or module in which a node stands."""
        return next((one for one in self.above(node) if isinstance(one, FUNCTIONS)), self.tree)

    def classes(self, name: str) -> list[ast.ClassDef]:
        """Return the classes of that name, wherever they stand."""
        return [one for one in self.nodes(ast.ClassDef) if one.name == name]

    def finding(self, node: ast.AST, rule: str, sentence: str) -> Finding:
        """Return a finding at a node."""
        return Finding(self.path, getattr(node, "lineno", 1), rule, sentence)


@dataclass(frozen=True)
class Sources:
    """The files of one tree: those that can be parsed, and findings about the others."""

    modules: Mapping[str, Module]
    unreadable: tuple[Finding, ...] = ()


def last_name(node: ast.AST) -> str:
    """Return the last identifier of ``a.b.c`` or of what is called; "" when there is none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    return last_name(node.func) if isinstance(node, ast.Call) else ""


def parse(path: str, data: bytes) -> Module | Finding:
    """Return a file's tree, or what is wrong with it."""
    for line in data.split(b"\n", 2)[:2]:
        found = _ENCODING.match(line)
        if found and found[1].lower().replace(b"_", b"-") not in {b"utf-8", b"utf8"}:
            return Finding(path, 1, UNREADABLE, "it declares another encoding than UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line_number = data[: error.start].count(b"\n") + 1
        return Finding(path, line_number, UNREADABLE, "it is not UTF-8")
    if "\0" in text:
        line_number = text[: text.index("\0")].count("\n") + 1
        return Finding(path, line_number, UNREADABLE, "it holds a null byte")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a bad escape is a linter's to report
            return Module(path, ast.parse(text, filename=path))
    except SyntaxError as error:
        return Finding(path, error.lineno or 1, UNREADABLE, f"it cannot be parsed: {error.msg}")
    except (ValueError, RecursionError, MemoryError) as error:
        return Finding(path, 1, UNREADABLE, f"it cannot be parsed: {type(error).__name__}")


def read(root: Path, parsed: Callable[[str, bytes], Module | Finding] = parse) -> Sources:
    """Read every Python file of the packages under ``root``."""
    modules: dict[str, Module] = {}
    unreadable: list[Finding] = []
    for path, problem in _files(root):
        name = path.relative_to(root).as_posix()
        found = Finding(name, 1, UNREADABLE, problem) if problem else _loaded(path, name, parsed)
        if isinstance(found, Finding):
            unreadable.append(found)
        else:
            modules[name] = found
    return Sources(modules, tuple(unreadable))


def _loaded(
    path: Path, name: str, parsed: Callable[[str, bytes], Module | Finding]
) -> Module | Finding:
    try:
        # Asked before it is opened: to open a named pipe is to wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            return Finding(name, 1, UNREADABLE, "it is not a regular file")
        data = path.read_bytes()
    except OSError as error:
        return Finding(name, 1, UNREADABLE, f"it cannot be read: {error.strerror}")
    return parsed(name, data)


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each Python file with "", and with a reason what cannot be looked into."""
    failed: list[OSError] = []
    for package in PACKAGES:
        if (root / package).is_symlink():
            yield root / package, "it is a link; what is imported has to lie in the project"
            continue
        for folder, folders, files in os.walk(root / package, onerror=failed.append):
            here = Path(folder)
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in folders:
                if (here / name).is_symlink():
                    yield here / name, "it is a link; what is imported has to lie in the project"
            yield from ((here / name, "") for name in sorted(files) if name.endswith(".py"))
    for error in failed:
        # A package that is not there at all is missed by its rules.
        if not isinstance(error, FileNotFoundError):
            yield Path(str(error.filename)), f"it cannot be read: {error.strerror}"
