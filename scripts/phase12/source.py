"""The project's files as syntax trees, each read and walked once.

What cannot be read or parsed becomes a finding, never an exception: a file that the scanner
cannot see into is one in which anything may stand.
"""

from __future__ import annotations

import ast
import io
import os
import re
import stat
import tokenize
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

UNREADABLE = "P12-UNREADABLE"
# Plugins that are shipped: they run in boxes like any other, and the parent never imports them.
SHIPPED = ("plugins/bundled/", "plugins/faults/")
INSIDE = "sandbox/inside/"  # what runs in a box

Node = TypeVar("Node", bound=ast.AST)
Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
# Neither the product nor of it: what others wrote, what was built, and tests, which break rules
# on purpose and which nothing of the product may import.
_TESTS = "tests"
_NOT_READ = {"__pycache__", "build", "dist", "node_modules", "site-packages", "venv"}
_LINK = "it is a link; what is imported has to lie in the project"
# PEP 263: such a comment in the first two lines says how the bytes are to be read.
_ENCODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_ALLOW = re.compile(r"#\s*phase12:\s*allow\s+(P12-[A-Z-]*[A-Z])\s*(.*)")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """One place that breaks one rule; ``reason`` is why that is allowed there, if it is."""

    path: str
    line: int
    rule: str
    sentence: str
    reason: str = ""

    def __str__(self) -> str:
        end = f" Allowed: {self.reason}" if self.reason else ""
        return f"{self.path}:{self.line}: {self.rule}: {self.sentence}{end}"


@dataclass(eq=False)
class Module:
    """One parsed file. ``path`` is relative to the root, with slashes."""

    path: str
    tree: ast.Module
    allowed: Mapping[tuple[int, str], str] = field(default_factory=dict)
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    _nodes: dict[type[ast.AST], list[ast.AST]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        """Note each node by its type, and what it stands in. Without recursion: trees are deep."""
        waiting: list[ast.AST] = [self.tree]
        for node in waiting:
            self._nodes[type(node)].append(node)
            within = list(ast.iter_child_nodes(node))
            self.parents.update(dict.fromkeys(within, node))
            waiting += within

    def nodes(self, kind: type[Node]) -> list[Node]:
        """Return all nodes of a type."""
        return self._nodes.get(kind, [])  # type: ignore[return-value]  # kept by their type

    def calls(self, *names: str) -> list[ast.Call]:
        """Return the calls of functions and methods of these names; all without any."""
        return [one for one in self.nodes(ast.Call) if not names or last_name(one.func) in names]

    def functions(self) -> list[Function]:
        """Return all functions and methods, wherever they stand."""
        return [*self.nodes(ast.FunctionDef), *self.nodes(ast.AsyncFunctionDef)]

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what a node stands in, from the inside out."""
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def defines(self, *names: str) -> bool:
        """Tell whether one of these classes is made here."""
        return any(one.name in names for one in self.nodes(ast.ClassDef))

    def finding(self, node: ast.AST, rule: str, sentence: str) -> Finding:
        """Return a finding at a node."""
        return Finding(self.path, getattr(node, "lineno", 1), rule, sentence)


@dataclass(frozen=True)
class Sources:
    """The files of one tree: those that can be parsed, and findings about the others."""

    modules: Mapping[str, Module]
    unreadable: tuple[Finding, ...] = ()

    def homes(self, name: str) -> list[str]:
        """Return the paths in which a class of that name is made; first where it belongs."""
        found = [path for path, module in self.modules.items() if module.defines(name)]
        return sorted(found, key=lambda path: (not path.endswith("tool_runner.py"), path))


def last_name(node: ast.AST | None) -> str:
    """Return the last identifier of ``a.b.c`` or of what is called; "" when there is none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    return last_name(node.func) if isinstance(node, ast.Call) else ""


def words(identifier: str) -> list[str]:
    """Return the words of a name, in lower case."""
    return [word.lower() for word in _WORD.findall(identifier)]


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
            return Module(path, ast.parse(text, filename=path), _allowances(text))
    except SyntaxError as error:
        return Finding(path, error.lineno or 1, UNREADABLE, f"it cannot be parsed: {error.msg}")
    except (ValueError, RecursionError, MemoryError) as error:
        return Finding(path, 1, UNREADABLE, f"it cannot be parsed: {type(error).__name__}")


def _allowances(text: str) -> dict[tuple[int, str], str]:
    """Return the reasons of ``# phase12: allow RULE - reason``, by the line they are about.

    That is the comment's own, or the one below when nothing else stands there.
    """
    if "phase12:" not in text:
        return {}
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        match = _ALLOW.match(token.string) if token.type == tokenize.COMMENT else None
        if match:
            is_alone = not token.line[: token.start[1]].strip()
            found[token.start[0] + is_alone, match[1]] = match[2].strip(" -:—")
    return found


def read(root: Path, parsed: Callable[[str, bytes], Module | Finding] = parse) -> Sources:
    """Read every Python file under ``root``, but tests and what is not the project's own."""
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
    for folder, folders, files in os.walk(root, onerror=failed.append):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if _is_read(name, here))
        for name in (one for one in folders if (here / one).is_symlink()):
            # Under its own name, as in toolrunner/, a folder is read where it is.
            if os.path.realpath(here / name) != os.path.realpath(root / name):
                yield here / name, _LINK
        for name in (one for one in sorted(files) if one.endswith(".py")):
            yield here / name, _LINK if (here / name).is_symlink() else ""
    for error in failed:
        yield Path(str(error.filename)), f"it cannot be read: {error.strerror}"


def _is_read(name: str, parent: Path) -> bool:
    if name == _TESTS or os.path.exists(parent / "__init__.py"):  # noqa: PTH110 - raises nothing
        return name != _TESTS  # within a package everything can be imported, by whatever name
    is_others = name.startswith(".") or name in _NOT_READ
    return not is_others and not os.path.exists(parent / name / "pyvenv.cfg")  # noqa: PTH110 - same
