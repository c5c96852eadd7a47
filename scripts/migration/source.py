"""A Python file as text and syntax tree, with what is needed to write it back as it was.

Used by everything that looks at code. Reads regular files alone, runs nothing, and turns whatever
is wrong with a file into a ``Finding``.
"""

from __future__ import annotations

import ast
import codecs
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migration.findings import Finding

MOST_BYTES = 4 * 1024 * 1024
# As PEP 723 has it.
_BLOCK = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


class UnreadableError(Exception):
    """A file that cannot be judged; ``finding`` says why and what to do."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Source:
    """A Python file. ``text`` has line feeds only and no byte order mark."""

    path: Path
    data: bytes
    text: str
    tree: ast.Module

    def encode(self, text: str) -> bytes:
        """Return a new text in the file's own line endings, with its byte order mark."""
        if b"\r\n" in self.data:
            text = text.replace("\n", "\r\n")
        mark = codecs.BOM_UTF8 if self.data.startswith(codecs.BOM_UTF8) else b""
        return mark + text.encode("utf-8")


def read_bytes(path: Path) -> bytes:
    """Return what is in a regular file; raise UnreadableError otherwise, and never wait."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _unreadable(path, 1, "not a regular file", "name a file or a folder")
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise _unreadable(path, 1, f"cannot be read: {reason}", "let this user read it") from None
    if len(data) > MOST_BYTES:
        megabytes = MOST_BYTES // 1024**2
        raise _unreadable(path, 1, f"larger than {megabytes} MiB", "keep data out of the code")
    return data


def read_text(path: Path) -> str:
    """Return a text file with line feeds only; raise UnreadableError for what is none."""
    return _decoded(path, read_bytes(path))


def read_source(path: Path) -> Source:
    """Read and parse a Python file; raise UnreadableError for one that Python cannot read."""
    data = read_bytes(path)
    text = _decoded(path, data)
    try:
        tree = ast.parse(text, filename=str(path))
    except SyntaxError as error:
        line = error.lineno or 1
        raise _unreadable(path, line, f"not valid Python: {error.msg}", "correct it") from None
    except (ValueError, RecursionError, MemoryError) as error:
        what = f"Python cannot parse it: {type(error).__name__}: {error}"
        raise _unreadable(path, 1, what, "correct it") from None
    return Source(path, data, text, tree)


def _decoded(path: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _unreadable(path, line, "not UTF-8 text", "save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unreadable(path: Path, line: int, what: str, instead: str) -> UnreadableError:
    return UnreadableError(Finding(path, line, what, instead))


def script_block(text: str) -> tuple[re.Match[str], dict[str, Any] | None] | None:
    """Return where a file's ``script`` block is and what it says; ``None`` if it has none.

    What it says is ``None`` if it is not valid TOML.
    """
    found = _BLOCK.search(text)
    if found is None:
        return None
    lines = found["content"].split("\n")
    content = "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)
    try:
        return found, tomllib.loads(content)
    except ValueError:
        return found, None


def has_manifest(text: str) -> bool:
    """Tell whether a Python file is a plugin of Toolrunner already."""
    block = script_block(text)
    return block is not None and "toolrunner" in (block[1] or {}).get("tool", {})


def imports(tree: ast.Module) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield each import statement, and whether the file can do without it.

    It can if the import stands below ``TYPE_CHECKING``, or in a ``try`` that catches its failure.
    """
    waiting: list[tuple[ast.AST, bool]] = [(tree, False)]
    while waiting:
        node, is_optional = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, is_optional
        for name, value in ast.iter_fields(node):
            optional = is_optional or (name == "body" and _guards(node))
            children = value if isinstance(value, list) else [value]
            waiting += [(child, optional) for child in children if isinstance(child, ast.AST)]


def _guards(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return any(name_of(part) == "TYPE_CHECKING" for part in ast.walk(node.test))
    if not isinstance(node, ast.Try):
        return False
    caught = {
        name_of(part)
        for handler in node.handlers
        for part in (ast.walk(handler.type) if handler.type else [ast.Name("Exception")])
    }
    return bool(caught & {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


def name_of(node: ast.AST | None) -> str:
    """Return the last name of ``a``, ``a.b``, ``a[...]`` or ``a.b()``; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        return name_of(node.value)
    if isinstance(node, ast.Call):
        return name_of(node.func)
    return ""


def bound_names(tree: ast.Module) -> dict[str, ast.stmt]:
    """Return every name that a module binds at its top level, with the statement that does."""
    names: dict[str, ast.stmt] = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[statement.name] = statement
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                names[alias.asname or alias.name.partition(".")[0]] = statement
        elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    names[node.id] = statement
    return names
