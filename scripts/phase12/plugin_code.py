"""P12-PLUGIN-CODE: the parent imports, executes and loads no plugin, and starts none unconfined."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from phase12.imports import imported
from phase12.origins import Origins
from phase12.source import INSIDE, SHIPPED, Finding, Module, last_name, words

RULE = "P12-PLUGIN-CODE"
SPAWN = "sandbox/spawn.py"
_LOADING = {
    "import_module", "__import__", "exec_module", "module_from_spec", "spec_from_file_location",
    "SourceFileLoader", "load_module", "run_path", "run_module", "zipimporter", "resolve_name",
    "addsitedir", "read_pickle", "CDLL", "PyDLL", "LoadLibrary", "ExtensionFileLoader",
}  # fmt: skip
_LOADING_MODULES = {
    "runpy", "imp", "pydoc", "zipimport", "dill", "cloudpickle", "code", "codeop",
    "timeit", "doctest",
}  # fmt: skip
_PICKLES = {"pickle", "marshal", "shelve", "_pickle", "joblib", "jsonpickle", "torch"}
_UNPICKLING = {"load", "loads", "open", "decode", "Unpickler"}
_STARTS = {"run", "Popen", "call", "check_call", "check_output", "getoutput", "system", "popen",
           "create_subprocess_exec", "create_subprocess_shell", "execv", "execve", "execvp",
           "execl", "spawnv", "spawnl", "posix_spawn", "posix_spawnp", "spawn"}  # fmt: skip
_STARTERS = {"subprocess", "sp", "asyncio", "os", "pty"}
_FILES = {"path", "file", "folder"}
_IN_THE_BOX = re.compile(
    r"(^|/)(worker|launch|launcher|zygote|cell|warden)(\.py)?$|(^|[./])inside([./]\w+|$)"
)
# What runs a file that it is given, and what does so when it is told to.
_INTERPRETER = re.compile(r"(^|/)(python[\d.]*|node|deno|bun|bash|sh|perl|ruby)$")
_RUNNER = re.compile(r"(^|/)(uv|uvx|pipx|hatch|poetry)$")


def check(module: Module, origins: Origins) -> Iterator[Finding]:
    """Yield what might bring plugin code into the parent."""
    if module.path.startswith((*SHIPPED, INSIDE)):
        return
    for node, name in imported(module):
        if sentence := _import(module, name):
            yield module.finding(node, RULE, sentence)
    for node in _builtins(module):
        yield module.finding(node, RULE, _loads("a built-in that is taken by a text"))
    for attribute in module.nodes(ast.Attribute):
        is_load = _is_load(module, origins, attribute)
        if is_load or attribute.attr == "Unpickler":
            what = "load of an entry point" if is_load else attribute.attr
            yield module.finding(attribute, RULE, _loads(what))
    for call in module.calls():
        if what := _what(module, origins, call):
            yield module.finding(call, RULE, _loads(what))
        elif sentence := _unconfined(module, origins, call):
            yield module.finding(call, RULE, sentence)


def _import(module: Module, name: str) -> str:
    """Return what is wrong with an import, "" when nothing is."""
    is_plugin = ".plugins.bundled." in f".{name}." and not name.endswith((".samples", ".bundled"))
    if is_plugin:
        return f"{name} is a plugin: the parent imports none"
    if name.partition(".")[0] in _LOADING_MODULES:
        return _loads(name)
    if ".sandbox.inside." in f".{name}" and not module.path.startswith("sandbox/"):
        return f"{name} is for the box: outside it plugins run free"
    return ""


def _loads(what: str) -> str:
    return f"{what} can bring plugin code into the parent; only {INSIDE}worker.py loads any"


def _what(module: Module, origins: Origins, call: ast.Call) -> str:
    """Return what a call can load code with; "" if it cannot."""
    function = call.func
    name = origins.called(function) if isinstance(function, ast.Name | ast.Attribute) else ""
    if any(one.arg == "allow_pickle" and not _is_off(one.value) for one in call.keywords):
        return f"{name} of pickled objects"
    if name in {"FunctionType", "CodeType"}:
        return name
    if name == "recv" and not call.args and _is_of_objects(module):
        return "recv of objects"
    if name == "getattr" and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
        name = str(call.args[1].value)
        return name if name in _LOADING | {"exec", "eval", "compile"} else ""
    if name in {"exec", "eval", "compile"}:
        is_builtin = isinstance(function, ast.Name) or last_name(function.value) == "builtins"  # type: ignore[attr-defined]
        is_builtin &= name not in origins.imported
        is_parsed = "PyCF_ONLY_AST" in {last_name(one) for one in ast.walk(call)}
        return name if is_builtin and not is_parsed else ""
    if name in _LOADING:
        return "" if _is_own(origins, call) else name
    if isinstance(function, ast.Name):
        home = {node.module for node in module.nodes(ast.ImportFrom)
                for alias in node.names if (alias.asname or alias.name) == function.id}  # fmt: skip
        return f"{name} of objects" if name in _UNPICKLING and home & _PICKLES else ""
    if not isinstance(function, ast.Attribute):
        return ""
    if name in _UNPICKLING and last_name(function.value) in _PICKLES | _aliases(module):
        return f"{name} of objects"
    return ""


def _is_load(module: Module, origins: Origins, attribute: ast.Attribute) -> bool:
    """Tell whether an entry point's ``load`` is called or taken hold of."""
    parent = module.parents.get(attribute)
    if attribute.attr != "load" or not isinstance(attribute.ctx, ast.Load):
        return False
    if isinstance(parent, ast.Call) and parent.func is attribute and parent.args + parent.keywords:
        return False
    return _is_entry_point(origins, attribute.value)


def _builtins(module: Module) -> Iterator[ast.AST]:
    """Yield where the product takes Python's own functions by a text, whatever that comes to."""
    if module.path.startswith("scripts/"):
        return
    for node in (*module.nodes(ast.Name), *module.nodes(ast.Attribute)):
        if last_name(node) == "__builtins__" or ast.unparse(node) == "builtins.__dict__":
            yield node
    yield from (one for one in module.nodes(ast.Constant) if one.value == "__builtins__")
    for call in module.calls("vars", "getattr"):
        if "builtins" in {last_name(one) for one in call.args}:
            yield call


def _is_off(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def _is_of_objects(module: Module) -> bool:
    return any(name.partition(".")[0] == "multiprocessing" for _, name in imported(module))


def _aliases(module: Module) -> set[str]:
    imports = module.nodes(ast.Import)
    return {
        alias.asname or "" for node in imports for alias in node.names if alias.name in _PICKLES
    }


def _is_own(origins: Origins, call: ast.Call) -> bool:
    """Tell whether what is imported by name is written down here, and no plugin."""
    if last_name(call.func) not in {"import_module", "__import__", "resolve_name"} or not call.args:
        return False
    wanted = call.args[0]
    if len(call.args) > 1 and not isinstance(call.args[1], ast.Constant):
        return False  # relative to what is known at run time alone
    if isinstance(wanted, ast.Subscript):  # of a table of names
        tables = origins.sources(wanted.value)
        values = [one for table in tables if isinstance(table, ast.Dict) for one in table.values]
    else:
        values = [wanted, *origins.sources(wanted)] if isinstance(wanted, ast.Name) else [wanted]
        values = [one for one in values if not isinstance(one, ast.Name)]
    texts = [one.value for one in values if isinstance(one, ast.Constant)]
    if isinstance(wanted, ast.JoinedStr) and isinstance(wanted.values[0], ast.Constant):
        return str(wanted.values[0].value).startswith(("toolrunner.runner.", "toolrunner.api."))
    return bool(texts) and len(texts) == len(values) and "plugins." not in str(texts)


def _is_entry_point(origins: Origins, node: ast.expr) -> bool:
    """Tell whether something may be an entry point: by its name, or by where it is taken from."""
    names = {last_name(one).lower() for one in origins.within(node)}
    return bool(names & {"ep", "point", "entry_point", "entrypoint", "entry_points"})


def _is_start(call: ast.Call) -> bool:
    """Tell whether a call starts a program."""
    name, root = last_name(call.func), call.func
    while isinstance(root, ast.Attribute):
        root = root.value
    is_bare = isinstance(call.func, ast.Name) and name != "run"
    return name in _STARTS and (is_bare or last_name(root) in _STARTERS)


def _unconfined(module: Module, origins: Origins, call: ast.Call) -> str:
    """Return what is wrong with a call that starts a program, "" when nothing is."""
    if module.path.startswith("sandbox/"):
        is_its_place = module.path == SPAWN or not _is_start(call)
        return "" if is_its_place else f"a process is started; in the sandbox {SPAWN} does that"
    return "plugin code is started without its sandbox" if _starts(origins, call) else ""


def _starts(origins: Origins, call: ast.Call) -> bool:
    """Tell whether a call starts the box's programs, or a plugin's own file, as they are."""
    if not _is_start(call):
        return False
    has_interpreter = has_plugin = False
    texts = set[str]()
    for one in origins.within(ast.Tuple([*call.args, *(key.value for key in call.keywords)])):
        if isinstance(one, ast.Constant):
            text = str(one.value)
            if _IN_THE_BOX.search(text):
                return True
            texts.add(text)
            has_interpreter |= bool(_INTERPRETER.search(text))
        elif isinstance(one, ast.Name):
            if one.id == "LAUNCH":
                return True
            has_plugin |= words(one.id)[:1] == ["plugin"] and words(one.id)[-1] in _FILES
        elif isinstance(one, ast.Attribute):
            has_interpreter |= one.attr == "executable"
            has_plugin |= one.attr in _FILES and origins.is_plugin(one.value)
    has_interpreter |= "run" in texts and any(map(_RUNNER.search, texts))
    return has_plugin and (has_interpreter or _is_program(origins, call))


def _is_program(origins: Origins, call: ast.Call) -> bool:
    """Tell whether the program that a call starts is a plugin's file itself."""
    command = (*call.args, None)[0]
    first = command.elts[0] if isinstance(command, ast.List | ast.Tuple) else command
    return any(
        isinstance(one, ast.Attribute) and one.attr in _FILES and origins.is_plugin(one.value)
        for one in (ast.walk(first) if first is not None else ())
    )
