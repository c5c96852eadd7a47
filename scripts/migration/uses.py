"""Which arguments a plugin's code uses as bytes, and which as base64: for those nobody typed."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from migration.shape import Function
from migration.source import name_of

# What takes bytes, and no text, as its first argument.
_TAKE_BYTES = frozenset(
    {
        "BytesIO", "frombuffer", "memoryview", "imdecode", "b64encode", "write_bytes", "crc32",
        "decompress", "md5", "sha1", "sha256", "sha512", "blake2b",
    }
)  # fmt: skip
_BYTES_METHODS = frozenset({"decode", "hex"})
_TAKE_BASE64 = frozenset({"b64decode", "a2b_base64", "decodebytes", "standard_b64decode"})
_DEEPEST = 3


def forms(
    function: Function, known: Mapping[str, Function], payload: str = "", depth: int = 0
) -> dict[str, bool]:
    """Return the arguments that a function surely uses as bytes (True), or decodes (False).

    They are its parameters or, with ``payload``, the keys of that one. ``known`` are functions
    and methods that it may hand them on to.
    """
    reader = _Reader(function, payload)
    found: dict[str, bool] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(map(_is_bytes, sides)):
                found |= {reader.argument(side): True for side in sides}
        elif isinstance(node, ast.Call):
            called = name_of(node.func)
            first = reader.argument(node.args[0]) if node.args else ""
            if called in _TAKE_BYTES:
                found.setdefault(first, True)
            elif called in _TAKE_BASE64:
                found[first] = False
            elif called in known and depth < _DEEPEST:
                inner = forms(known[called], known, depth=depth + 1)
                found |= {
                    reader.argument(given): inner[name]
                    for name, given in _given(node, known[called])
                    if name in inner
                }
            elif isinstance(node.func, ast.Attribute) and (
                called in _BYTES_METHODS or any(map(_is_bytes, node.args))
            ):
                found.setdefault(reader.argument(node.func.value), True)
    found.pop("", None)
    return found


class _Reader:
    """Which argument of a function an expression is; local names for one are followed."""

    def __init__(self, function: Function, payload: str) -> None:
        self._payload = payload
        given = function.args
        names = [] if payload else [*given.posonlyargs, *given.args, *given.kwonlyargs]
        self._names = {one.arg: one.arg for one in names}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                argument = self.argument(node.value)
                self._names |= {t.id: argument for t in node.targets if isinstance(t, ast.Name)}

    def argument(self, node: ast.AST) -> str:
        """Return the argument's name, "" for what is none."""
        if isinstance(node, ast.Name):
            return self._names.get(node.id, "")
        key: ast.AST | None = None
        if isinstance(node, ast.Subscript):
            if name_of(node.value) != self._payload:
                return self.argument(node.value) if isinstance(node.slice, ast.Slice) else ""
            key = node.slice
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            is_get = node.func.attr in {"get", "pop"} and name_of(node.func.value) == self._payload
            key = node.args[0] if is_get and self._payload else None
        return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else ""


def _is_bytes(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, bytes)


def _given(call: ast.Call, function: Function) -> list[tuple[str, ast.AST]]:
    """Return the parameters of a function with what a call gives for each."""
    names = [one.arg for one in [*function.args.posonlyargs, *function.args.args]]
    if names[:1] in (["self"], ["cls"]):
        del names[0]
    named = [(one.arg, one.value) for one in call.keywords if one.arg]
    return [*zip(names, call.args, strict=False), *named]
