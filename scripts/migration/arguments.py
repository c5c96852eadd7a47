"""What a plugin's method takes, and what has to stand in a call of it.

Goes by the names and annotations of parameters. What they do not tell is said, never guessed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from migration.findings import Finding
from migration.intake import BASE64_NAMES as _BASE64
from migration.intake import IMAGE_NAMES as _IMAGE
from migration.shape import BYTES, PROGRESS, Function, Shape, Tool
from migration.source import Source, name_of
from migration.uses import forms

_MIME = frozenset({"mime_type", "mimetype", "content_type", "media_type"})
_OPTIONS = frozenset({"options", "opts", "params", "config", "settings"})
_PAYLOAD = frozenset({"payload", "data", "request", "input", "inputs", "input_data", "args"})
_TOOL = frozenset({"tool", "tool_name", "tool_id"})
_TYPES = {
    "str": "string", "int": "integer", "float": "number", "bool": "boolean",
    "dict": "object", "Dict": "object", "list": "array", "List": "array", "bytes": "string",
}  # fmt: skip
# What begins with a capital in an annotation and is no class of the plugin's.
_NO_OBJECTS = frozenset(
    {"Any", "Iterable", "List", "Optional", "Sequence", "Set", "Tuple", "Union"}
)


def called(
    source: Source, owner: str, function: Function, tools: dict[str, Tool] | None
) -> Shape | Finding:
    """Return how a method of ``owner``, or a function, is called, or why that cannot be told."""
    shape = Shape(owner, function.name, function.lineno)
    shape.is_async = isinstance(function, ast.AsyncFunctionDef)
    shape.is_object = _returns_object(function)
    taken = list(parameters(function, is_method=bool(owner)))
    shape.takes_context = any(p.name == "context" for p in taken)
    if function.name == "run_tool":
        problem = _tool_arguments(shape, taken, tools)
    else:
        problem = _arguments(shape, taken, function)
    if problem:
        instead = "give it run(self, payload), or defaults"
        if "decodes" in problem:
            instead = "take the decoding away"
        return Finding(source.path, function.lineno, f"{function.name} {problem}", instead)
    return shape


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. ``annotation`` is its outermost name; ``stars`` are 2 for ``**rest``."""

    name: str
    annotation: str
    needed: bool
    by_name: bool
    stars: int = 0


def parameters(function: Function, *, is_method: bool = True) -> Iterator[Parameter]:
    """Yield the parameters that a caller gives."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    needed = len(positional) - len(given.defaults)
    is_static = any(name_of(d) == "staticmethod" for d in function.decorator_list)
    for i, one in enumerate(positional):
        if i or is_static or not is_method:
            yield Parameter(one.arg, _annotation(one), i < needed, by_name=False)
    for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield Parameter(one.arg, _annotation(one), default is None, by_name=True)
    if given.kwarg:
        yield Parameter(given.kwarg.arg, "", needed=False, by_name=True, stars=2)


def _annotation(one: ast.arg) -> str:
    """Return the outermost name of an annotation, past ``Optional`` and ``| None``."""
    node = one.annotation
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.partition("[")[0]
    if isinstance(node, ast.BinOp):
        node = node.left
    if isinstance(node, ast.Subscript) and name_of(node.value) == "Optional":
        node = node.slice
    return name_of(node)


def _tool_arguments(
    shape: Shape, parameters: list[Parameter], tools: dict[str, Tool] | None
) -> str:
    positional = [p for p in parameters if not p.by_name]
    spread = next((p for p in parameters if p.stars), None)
    shape.tools = tools or {}
    if len(positional) >= 2 and not any(p.needed for p in parameters if p not in positional[:2]):
        shape.arguments = 'payload["tool"], args'
        return ""
    if len(positional) == 1 and spread:
        shape.arguments = 'payload["tool"], **args'
        return ""
    return "takes something else than (tool, args)"


def _arguments(shape: Shape, parameters: list[Parameter], function: Function) -> str:
    """Say how ``run`` or ``analyze`` is called, from the names of its parameters."""
    needed = [p for p in parameters if p.needed and p.name != "context"]
    first = next((p for p in parameters if not p.stars and p.name != "context"), None)
    if first is None:
        return _spread(shape, parameters) if parameters else "takes no payload"
    if _is_image(first) or (shape.method == "analyze" and not _is_payload(first)):
        return _image_arguments(shape, parameters)
    if first.name in _TOOL and len(needed) == 2:
        shape.method, shape.arguments, shape.tools = function.name, 'payload["tool"], args', {}
        return ""
    if _is_payload(first) and len(needed) <= 1:
        keys = list(_keys_read(function, first.name))
        shape.input = "image" if {"image", "mime_type"} & {*keys} else "json"
        shape.keys = () if shape.input == "image" else tuple(keys)
        if shape.input == "image" and _decodes(function):
            return 'decodes payload["image"], which is bytes here'
        shape.arguments = "payload, context" if shape.takes_context else "payload"
        if shape.takes_context and function.args.kwonlyargs:
            shape.arguments = "payload, context=context"
        return ""
    return _spread(shape, parameters)


def _is_payload(one: Parameter) -> bool:
    return one.name in _PAYLOAD and one.annotation not in {"bytes", "str"}


def _is_image(one: Parameter) -> bool:
    return one.name in _IMAGE | _BASE64 or one.annotation in BYTES


def _image_arguments(shape: Shape, parameters: list[Parameter]) -> str:
    shape.input = "image"
    given: list[str] = []
    for i, one in enumerate(parameters):
        text = _image_argument(one, is_first=not i)
        if text:
            given.append(f"{one.name}={text}" if one.by_name or len(given) < i else text)
        elif one.needed:
            return f"needs {one.name}, which no payload has"
        elif one.stars:
            given.append('**(payload.get("options") or {})')
    shape.arguments = ", ".join(given)
    return "" if "image" in shape.arguments else "takes no image"


def _image_argument(one: Parameter, *, is_first: bool) -> str:
    if one.stars:
        return ""
    if one.name in _BASE64 or (is_first and one.annotation == "str"):
        return 'base64.b64encode(payload["image"]).decode("ascii")'
    if one.name in _MIME:
        return 'payload["mime_type"]'
    if one.name in _OPTIONS:
        return 'payload.get("options") or {}'
    if one.name == "context":
        return "context"
    return 'payload["image"]' if is_first or _is_image(one) else ""


def _spread(shape: Shape, parameters: list[Parameter]) -> str:
    """Have the payload's keys be the parameters."""
    named = [p for p in parameters if not p.stars and p.name != "context"]
    if any(p.annotation in BYTES for p in named):
        return "takes bytes beside other arguments"
    shape.arguments = "**payload, context=context" if shape.takes_context else "**payload"
    shape.schema = schema(named)
    return ""


def tool_of(function: Function, known: Mapping[str, Function]) -> Tool:
    """Return a tool's arguments, as its function takes and uses them."""
    first = [one.arg for one in (*function.args.posonlyargs, *function.args.args)][:1]
    taken = parameters(function, is_method=first in (["self"], ["cls"]))
    named = [p for p in taken if not p.stars]
    tells = any(p.name == PROGRESS for p in named)
    named = [p for p in named if p.name != PROGRESS]
    made = replace(schema(named), tells=tells)
    used = forms(function, known)
    for one in named:
        if one.annotation in BYTES or one.name.endswith("_bytes"):
            used.setdefault(one.name, True)
    made.forms.update({p.name: used[p.name] for p in named if p.name in used})
    return made


def schema(named: list[Parameter]) -> Tool:
    """Return parameters as the properties of a JSON object."""
    properties = {
        p.name: {"type": _TYPES[p.annotation]} if p.annotation in _TYPES else {} for p in named
    }
    needed = tuple(p.name for p in named if p.needed)
    return Tool(properties, needed)


def _keys_read(function: Function, payload: str) -> Iterator[str]:
    """Yield each key that a function surely takes out of its payload, and the image's if it may."""
    for node in ast.walk(function):
        key: ast.expr | None = None
        is_sure = isinstance(node, ast.Subscript)
        if isinstance(node, ast.Subscript) and name_of(node.value) == payload:
            key = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            key = node.args[0] if name_of(node.func.value) == payload else None
        text = key.value if isinstance(key, ast.Constant) else None
        if isinstance(text, str) and (is_sure or text in {"image", "mime_type"}):
            yield text


def _decodes(function: Function) -> bool:
    """Tell whether a function takes the image for base64."""
    return any(
        isinstance(node, ast.Call)
        and name_of(node).endswith("b64decode")
        and any(isinstance(c, ast.Constant) and c.value == "image" for c in ast.walk(node))
        for node in ast.walk(function)
    )


def _returns_object(function: Function) -> bool:
    """Tell whether a function surely returns an object: it says so, or each return is one."""
    said = name_of(function.returns)
    if said in {"dict", "Dict", "Mapping"} or (said[:1].isupper() and said not in _NO_OBJECTS):
        return True
    returns = [node for node in ast.walk(function) if isinstance(node, ast.Return)]
    return bool(returns) and all(isinstance(node.value, ast.Dict) for node in returns)
