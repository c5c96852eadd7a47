"""How a plugin that was written for another host is called: its class, its method, its arguments.

Reads syntax trees only. What it cannot tell is a ``Finding``, never a guess.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from migration.calls import METHODS
from migration.findings import Finding
from migration.host import own_attributes
from migration.source import Source, name_of

HOOKS = ("validate", "on_load")

_IMAGE = frozenset(
    {"image", "img", "frame", "image_bytes", "image_data", "img_bytes", "frame_bytes"}
)
_BASE64 = frozenset({"image_base64", "image_b64", "frame_base64", "frame_b64", "img_base64"})
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

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of a plugin with several: what its arguments are, as JSON Schema has it."""

    properties: dict[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    in_bytes: tuple[str, ...] = ()


@dataclass(slots=True)
class Shape:
    """How to call a plugin. ``owner`` is "" where the module's own function is the plugin.

    ``arguments`` is what stands between the parentheses of the call.
    """

    owner: str
    method: str
    line: int
    input: str = "json"
    arguments: str = "payload"
    is_async: bool = False
    may_await: bool = False
    is_object: bool = False
    takes_context: bool = False
    hooks: dict[str, bool] = field(default_factory=dict)
    schema: Tool | None = None
    tools: dict[str, Tool] | None = None
    keys: tuple[str, ...] = ()
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether Toolrunner can call it as it is, once it is found."""
        is_run = self.method == "run" and self.arguments in {
            "payload",
            "payload, context",
            "payload, context=context",
        }
        return is_run and not (self.is_async or self.may_await or self.hooks)


def find(source: Source, wanted: str = "", *, is_named: bool = False) -> list[Shape | Finding]:
    """Return each plugin of a file, or why it cannot be called.

    ``wanted`` is the class or function that the plugin's metadata name. ``is_named``: somebody
    said that this file is a plugin, so its functions may be one.
    """
    classes = {node.name: node for node in source.tree.body if isinstance(node, ast.ClassDef)}
    found: list[Shape | Finding] = []
    for name, owner in classes.items():
        methods = _methods(owner, classes)
        if name == wanted or (not wanted and _is_plugin(owner, classes, methods)):
            found.append(_of_class(source, owner, classes, methods))
    if found or not is_named:
        return found
    functions = {node.name: node for node in source.tree.body if isinstance(node, Function)}
    for name in (wanted,) if wanted in functions else METHODS:
        if name in functions:
            return [_of_function(source, functions[name])]
    return found


def _is_plugin(
    owner: ast.ClassDef, classes: dict[str, ast.ClassDef], methods: dict[str, Function]
) -> bool:
    names = [owner.name, *(name_of(base) for base in owner.bases)]
    is_base = any(owner.name in map(name_of, other.bases) for other in classes.values())
    is_abstract = any(
        name_of(decorator) == "abstractmethod"
        for method in methods.values()
        for decorator in method.decorator_list
    )
    says_so = any(name.endswith(("Plugin", "PluginBase")) for name in names)
    return says_so and not is_base and not is_abstract and bool(methods.keys() & set(METHODS))


def _methods(owner: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> dict[str, Function]:
    """Return the methods of a class, with those of its bases in the same file."""
    methods: dict[str, Function] = {}
    waiting, seen = [owner], {owner.name}
    while waiting:
        one = waiting.pop(0)
        for node in one.body:
            if isinstance(node, Function):
                methods.setdefault(node.name, node)
        for base in one.bases:
            name = name_of(base)
            if name in classes and name not in seen:
                seen.add(name)
                waiting.append(classes[name])
    return methods


def _of_class(
    source: Source,
    owner: ast.ClassDef,
    classes: dict[str, ast.ClassDef],
    methods: dict[str, Function],
) -> Shape | Finding:
    constructor = methods.get("__init__")
    needed = [p for p in _parameters(constructor) if p.needed] if constructor else []
    if needed:
        assert constructor is not None
        what = f"{owner.name}() needs {', '.join(p.name for p in needed)}"
        instead = "give it defaults; an operator's settings are context.config of run"
        return Finding(source.path, constructor.lineno, what, instead)
    tools = _tools(owner, methods)
    method = next((name for name in METHODS if name in methods), None)
    if method == "run_tool" and "analyze" in methods and set(tools or {}) == {"analyze"}:
        method = "analyze"
    if method is None:
        what = f"{owner.name} has no method run, run_tool or analyze"
        return Finding(source.path, owner.lineno, what, "give it run(self, payload)")
    shape = _called(source, owner.name, methods[method], tools)
    if isinstance(shape, Shape):
        shape.hooks = {
            name: isinstance(methods[name], ast.AsyncFunctionDef)
            for name in HOOKS
            if name in methods and not any(p.needed for p in _parameters(methods[name]))
        }
        shape.may_await = not shape.is_async and any(
            isinstance(one, ast.AsyncFunctionDef)
            for name, one in methods.items()
            if name not in HOOKS and name != "on_unload"
        )
        shape.texts = _texts(owner, classes)
    return shape


def _of_function(source: Source, function: Function) -> Shape | Finding:
    return _called(source, "", function, None)


def _called(
    source: Source, owner: str, function: Function, tools: dict[str, Tool] | None
) -> Shape | Finding:
    shape = Shape(owner, function.name, function.lineno)
    shape.is_async = isinstance(function, ast.AsyncFunctionDef)
    shape.is_object = _returns_object(function)
    parameters = list(_parameters(function, is_method=bool(owner)))
    shape.takes_context = any(p.name == "context" for p in parameters)
    problem = ""
    if function.name == "run_tool":
        problem = _tool_arguments(shape, parameters, tools)
    else:
        problem = _arguments(shape, parameters, function)
    if problem:
        return Finding(
            source.path, function.lineno, problem, "give it run(self, payload), or defaults"
        )
    return shape


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    annotation: str
    needed: bool
    by_name: bool
    stars: int = 0


def _parameters(function: Function, *, is_method: bool = True) -> Iterator[_Parameter]:
    """Yield the parameters that a caller gives."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    needed = len(positional) - len(given.defaults)
    is_static = any(name_of(d) == "staticmethod" for d in function.decorator_list)
    for i, one in enumerate(positional):
        if i or is_static or not is_method:
            yield _Parameter(one.arg, _annotation(one), i < needed, by_name=False)
    for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _Parameter(one.arg, _annotation(one), default is None, by_name=True)
    if given.kwarg:
        yield _Parameter(given.kwarg.arg, "", needed=False, by_name=True, stars=2)


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
    shape: Shape, parameters: list[_Parameter], tools: dict[str, Tool] | None
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
    return "run_tool takes something else than (tool, args)"


def _arguments(shape: Shape, parameters: list[_Parameter], function: Function) -> str:
    """Say how ``run`` or ``analyze`` is called, from the names of its parameters."""
    needed = [p for p in parameters if p.needed and p.name != "context"]
    first = next((p for p in parameters if not p.stars and p.name != "context"), None)
    if first is None:
        return _spread(shape, parameters) if parameters else f"{function.name} takes no payload"
    if _is_image(first) or (shape.method == "analyze" and not _is_payload(first)):
        return _image_arguments(shape, parameters, function)
    if first.name in _TOOL and len(needed) == 2:
        shape.method, shape.arguments, shape.tools = function.name, 'payload["tool"], args', {}
        return ""
    if _is_payload(first) and len(needed) <= 1:
        keys = list(_keys_read(function, first.name))
        shape.input = "image" if {"image", "mime_type"} & {*keys} else "json"
        shape.keys = () if shape.input == "image" else tuple(keys)
        shape.arguments = "payload, context" if shape.takes_context else "payload"
        if shape.takes_context and function.args.kwonlyargs:
            shape.arguments = "payload, context=context"
        return ""
    return _spread(shape, parameters)


def _is_payload(one: _Parameter) -> bool:
    return one.name in _PAYLOAD and one.annotation not in {"bytes", "str"}


def _is_image(one: _Parameter) -> bool:
    return one.name in _IMAGE | _BASE64 or one.annotation in {"bytes", "bytearray"}


def _image_arguments(shape: Shape, parameters: list[_Parameter], function: Function) -> str:
    shape.input = "image"
    given: list[str] = []
    for i, one in enumerate(parameters):
        text = _image_argument(one, is_first=not i)
        if text:
            given.append(f"{one.name}={text}" if one.by_name or len(given) < i else text)
        elif one.needed:
            return f"{function.name} needs {one.name}, which no payload has"
        elif one.stars:
            given.append('**(payload.get("options") or {})')
    shape.arguments = ", ".join(given)
    return ""


def _image_argument(one: _Parameter, *, is_first: bool) -> str:
    if one.stars:
        return ""
    if one.name in _BASE64 or (is_first and one.annotation == "str"):
        return 'base64.b64encode(payload["image"]).decode("ascii")'
    if is_first or _is_image(one):
        return 'payload["image"]'
    if one.name in _MIME:
        return 'payload["mime_type"]'
    if one.name in _OPTIONS:
        return 'payload.get("options") or {}'
    return "context" if one.name == "context" else ""


def _spread(shape: Shape, parameters: list[_Parameter]) -> str:
    """Have the payload's keys be the parameters."""
    named = [p for p in parameters if not p.stars and p.name != "context"]
    if any(p.annotation in {"bytes", "bytearray"} for p in named):
        return f"{shape.method} takes bytes beside other arguments"
    shape.arguments = "**payload, context=context" if shape.takes_context else "**payload"
    shape.schema = _schema(named)
    return ""


def _schema(named: list[_Parameter]) -> Tool:
    properties = {
        p.name: {"type": _TYPES[p.annotation]} if p.annotation in _TYPES else {} for p in named
    }
    needed = tuple(p.name for p in named if p.needed)
    in_bytes = tuple(p.name for p in named if p.annotation in {"bytes", "bytearray"})
    return Tool(properties, needed, in_bytes)


def _keys_read(function: Function, payload: str) -> Iterator[str]:
    """Yield each key that a function surely takes out of its payload, and the image's if it may."""
    for node in ast.walk(function):
        key: ast.expr | None = None
        is_sure = isinstance(node, ast.Subscript)
        if isinstance(node, ast.Subscript) and name_of(node.value) == payload:
            key = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            key = node.args[0] if name_of(node.func.value) == payload else None
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            if is_sure or key.value in {"image", "mime_type"}:
                yield key.value


def _returns_object(function: Function) -> bool:
    """Tell whether a function surely returns an object: it says so, or each return is one."""
    said = name_of(function.returns)
    if said in {"dict", "Dict", "Mapping"} or (said[:1].isupper() and said not in _NO_OBJECTS):
        return True
    returns = [node for node in ast.walk(function) if isinstance(node, ast.Return)]
    return bool(returns) and all(isinstance(node.value, ast.Dict) for node in returns)


def _tools(owner: ast.ClassDef, methods: dict[str, Function]) -> dict[str, Tool] | None:
    """Return the tools that a class lists in ``tools``, with the arguments of their methods."""
    for node in ast.walk(owner):
        target: ast.expr | None = None
        if isinstance(node, ast.Assign):
            target = node.targets[0]
        elif isinstance(node, ast.AnnAssign):
            target = node.target
        if name_of(target) != "tools" or not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        if isinstance(node.value, ast.Dict):
            return {
                key.value: _tool(key.value, value, methods)
                for key, value in zip(node.value.keys, node.value.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
    return None


def _tool(name: str, value: ast.expr, methods: dict[str, Function]) -> Tool:
    handler: ast.AST = value
    if isinstance(value, ast.Dict):
        for key, part in zip(value.keys, value.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "handler":
                handler = part
    called = name_of(handler)
    if isinstance(handler, ast.Constant) and isinstance(handler.value, str):
        called = handler.value
    method = methods.get(called) or methods.get(name)
    return _schema([p for p in _parameters(method) if not p.stars]) if method else Tool()


def _texts(owner: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> dict[str, str]:
    """Return what a class says of itself: ``name = "..."`` and its kin."""
    texts: dict[str, str] = {}
    bases = [classes[name_of(base)] for base in owner.bases if name_of(base) in classes]
    for one in (owner, *bases):
        for node in one.body:
            if not isinstance(node, ast.Assign | ast.AnnAssign):
                continue
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                texts.setdefault(name_of(target), node.value.value)
    return texts


def kept_between_calls(source: Source, owner: str) -> Iterator[Finding]:
    """Yield what a class stores on itself during calls: here each call is a new process."""
    for node in source.tree.body:
        if not isinstance(node, ast.ClassDef) or node.name != owner:
            continue
        known = own_attributes(node)
        seen: set[str] = set()
        for method in node.body:
            if not isinstance(method, Function) or method.name in {*HOOKS, "__init__", "on_unload"}:
                continue
            for part in ast.walk(method):
                is_stored = isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)
                if not is_stored or name_of(part.value) != "self" or part.attr in seen:
                    continue
                if part.attr in known:
                    seen.add(part.attr)
                    what = f"self.{part.attr} is set during a call, and no later call sees it"
                    yield Finding(
                        source.path, part.lineno, what, "have the caller send what has to be kept"
                    )
