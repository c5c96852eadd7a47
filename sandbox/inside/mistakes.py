"""What an author may have meant, said behind an exception of a plugin's own code.

Called by the worker once a plugin has raised. It is advice alone: it goes by names that are there.
"""

from __future__ import annotations

import os

from . import given_files, hints, lookup, mistaken

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    import types
    from typing import Any

_MOST_NAMES = 1000
_MOST_KEYS = 8
_LONGEST_LINE = 300
_ONLY_PARSED = 0x400  # ast.PyCF_ONLY_AST, without importing ast
# Of what difflib says. What is not there at all has to be nearer, and a short name may be farther.
_FAR, _LIKE, _NEAR = 0.6, 0.7, 0.8
# What else the function is called that a program begins with.
_RUNS = ("run", "main", "process", "execute", "handle", "handler", "call")
# Distributions that are called otherwise than what is imported of them.
_DISTRIBUTIONS = {
    "Crypto": "pycryptodome",
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "jwt": "pyjwt",
    "magic": "python-magic",
    "pptx": "python-pptx",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
# Libraries that are called nearly as a module of the standard library is, of the most used ones.
# fmt: off
_LIKE_STANDARD = frozenset({
    "aenum", "aioitertools", "aiosignal", "aiosmtplib", "argcomplete", "asgiref", "authlib",
    "bashlex", "bcrypt", "configargparse", "contextlib2", "cssselect", "dataclasses_json",
    "ddtrace", "distlib", "enum34", "gast", "gitdb", "grpclib", "html5lib", "httpx", "icalendar",
    "ijson", "ipdb", "json5", "locket", "lxml", "mpmath", "multiprocess", "oauthlib", "orjson",
    "platformdirs", "pprintpp", "psutil", "py", "pybase64", "pydot", "qrcode", "smmap", "statsd",
    "structlog", "tokenizers", "tomli", "ty", "typer", "ujson", "urllib3", "uuid6", "wcmatch",
    "webencodings", "xarray", "zipp",
})
# fmt: on
_OF_ITS_OWN = "If it is a module of your own, make the plugin a folder with a toolrunner.toml"
_NO_TERMINAL = (
    "; a call has no terminal: `toolrunner plugins check --debug PATH` runs the plugin without a "
    "box, in yours"
)
_NO_VARIABLE = (
    "; a plugin has no environment variables of the host: write run(payload, context) and "
    "context.config[{key!r:.80}], which the operator sets in the settings, below [plugin.{name}]: "
    'config = {{ {key:.80} = "…" }}'
)
_NO_PICTURE = (
    "; if the caller's file is at fault, say so: raise an exception of a class named InvalidInput"
)


def hint(error: BaseException, order: dict[str, Any]) -> str:
    """Return what may be meant, or ""; ``order``: the one to load the plugin."""
    opened = of_the_bytes(error, order)
    if opened:
        return opened
    for kind, said in _HINTS:
        if isinstance(error, kind):
            advice: str = said(error, last_frame(error), order)
            return advice
    if type(error).__name__ in _PROGRAMS:
        return of_a_program(error)
    of_files = given_files.of_a_database(error) or of_a_file(error, order)
    if of_files:
        return of_files
    if is_of_a_picture(error):
        return mistaken.of_a_font(last_frame(error), order) or _NO_PICTURE
    return _BY_NAME.get(type(error).__name__, "")


def last_frame(error: BaseException) -> types.FrameType | None:
    """Return the frame that an exception was raised in."""
    last = hints.last_step(error)
    return None if last is None else last.tb_frame


def of_the_bytes(error: BaseException, order: dict[str, Any]) -> str:
    """Return how a picture is opened, where its bytes were taken for one, or for a path.

    So may be the payload that they are in, if a function of Pillow was given it.
    """
    import re

    steps = own_steps(error, order)
    payload = payload_of(steps)
    image = payload.get("image")
    if not steps or type(image) is not bytes:
        return ""
    is_whole = False
    if isinstance(error, AttributeError):
        by_pillow = is_pillows(last_frame(error))
        is_whole = by_pillow and error.obj is payload
        is_it = is_whole or (
            error.obj is image and (by_pillow or steps[-1] is hints.last_step(error))
        )
    elif isinstance(error, OSError):
        is_it = type(error.filename) is bytes and error.filename == image
    else:
        is_it = type(error) is ValueError and str(error) == "embedded null byte"
    if not is_it:
        return ""
    names = steps[-1].tb_frame.f_locals
    for name in re.findall(r"\w+", hints.source_of(steps[-1])):
        value = names.get(name)
        if value is image or value is payload:
            written = name if value is image else f'{name}["image"]'
            whose = f"{name} is the payload, and " if is_whole else ""
            return f"; {whose}{written} are bytes: Image.open(io.BytesIO({written}))"
    return ""


def of_a_name(error: NameError, frame: types.FrameType | None, order: dict[str, Any]) -> str:
    """Return the name that was meant; some interpreters say it only in a traceback."""
    if frame is None or not is_own(frame, order):
        return ""
    if isinstance(error, UnboundLocalError):
        return "; it is set further down in the same function, so it is another one there"
    known = [*frame.f_locals, *frame.f_globals, *frame.f_builtins]
    return mistaken.of_an_end(error.name) or meant(error.name, known)


def of_an_attribute(
    error: AttributeError, frame: types.FrameType | None, order: dict[str, Any]
) -> str:
    """Return the attribute that was meant, or how what it names is reached."""
    if error.obj is None:
        return "" if error.name is None else "; what gave it has found nothing, or has no return"
    mistook = mistaken.of_json(frame)
    if mistook:
        return mistook
    if frame is None or not is_own(frame, order):  # a line that is not its author's to change
        return of_an_instance(error.obj, error.name)
    if isinstance(error.obj, dict) and type(error.name) is str:
        similar = meant(error.name, dir(error.obj))
        is_key = error.name in error.obj
        return similar if similar and not is_key else by_key(error.obj, error.name, frame)
    similar = meant(error.name, dir(error.obj))
    return (
        similar
        or mistaken.of_the_context(frame, str(error))
        or of_an_instance(error.obj, error.name)
    )


def by_key(owner: dict[Any, Any], key: str, frame: types.FrameType) -> str:
    """Return how to reach what a dict holds, and whether it holds that."""
    name = next((name for name, value in frame.f_locals.items() if value is owner), "it")
    if given_files.is_one(owner) and key not in owner:
        return f"; it is a dict: open its path, {name}['path']"
    written = f"; it is a dict: write {name}[{key!r:.80}]"
    return (
        written if key in owner else f"{written}, but it has no such key{present(name, owner, key)}"
    )


def of_an_instance(owner: object, name: str | None) -> str:
    """Return that a class was meant to be called first, if its instances have the attribute."""
    code = getattr(getattr(owner, "__init__", None), "__code__", None)
    if not isinstance(owner, type) or name not in getattr(code, "co_names", ()):
        return ""
    return (
        f"; {owner.__name__:.80} is a class: make one first, and use that: {owner.__name__:.80}(…)"
    )


def of_a_key(error: KeyError, frame: types.FrameType | None, order: dict[str, Any]) -> str:
    """Return which keys there are, if the payload has not the one that was looked for."""
    if frame is None or not error.args:
        return ""
    key = error.args[0]
    if frame.f_locals.get("self") is os.environ:
        return _NO_VARIABLE.format(key=key, name=order["name"])
    if not is_own(frame, order):
        return ""
    name, value = looked_into(error, frame)
    if type(value) is not dict or type(key) is not str or key in value:
        return ""
    if not is_of_the_payload(value, error, order):
        return ""
    if not name.isidentifier() and not given_files.is_one(value):
        return ""
    return f"; {name} has no {key!r:.80}{present(name, value, key)}"


def is_of_the_payload(value: dict[Any, Any], error: BaseException, order: dict[str, Any]) -> bool:
    """Tell whether a value is the dict that the plugin was called with, or one right in it."""
    payload = payload_of(own_steps(error, order))
    files = payload.get("files")
    some = files if type(files) is list else []
    return any(value is one for one in (payload, *payload.values(), *some))


def payload_of(steps: list[types.TracebackType]) -> dict[Any, Any]:
    """Return the dict that the plugin was called with, by the first of its own steps."""
    if not steps:
        return {}
    frame = steps[0].tb_frame
    names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
    given = [frame.f_locals.get(name) for name in names]
    return next((one for one in given if type(one) is dict), {})


def of_a_file(error: BaseException, order: dict[str, Any]) -> str:
    """Return what to write where files of the call stand in the place of a path."""
    return given_files.of_a_value(error, payload_of(own_steps(error, order)))


def looked_into(error: KeyError, frame: types.FrameType) -> tuple[str, object]:
    """Return what was looked into, as ``it[…]`` or ``it.pop(…)``: as it is written, and itself.

    A line may look into several dicts: only the bytecode's own position tells which of them has
    failed. Where it tells nothing, or anything else has raised the error, there is no name.
    """
    step = hints.last_step(error)
    source = "" if step is None else hints.source_of(step).strip()
    try:
        body = compile(source, "?", "eval", _ONLY_PARSED).body
    except (SyntaxError, ValueError):
        return "", None
    kind = type(body).__name__
    owner = body.value if kind == "Subscript" else None
    if kind == "Call" and getattr(body.func, "attr", "") == "pop":
        owner = body.func.value
    if owner is None or owner.lineno != owner.end_lineno:
        return "", None
    line = source.splitlines()[owner.lineno - 1].encode()
    name = line[owner.col_offset : owner.end_col_offset].decode("utf-8", "replace")
    return name, reached(owner, frame.f_locals)


def reached(node: Any, names: dict[str, Any]) -> object:
    """Return what an expression of names and constant subscripts stands for, else ``None``."""
    if type(node).__name__ == "Name":
        return names.get(node.id)
    if type(node).__name__ != "Subscript" or type(node.slice).__name__ != "Constant":
        return None
    owner, key = reached(node.value, names), node.slice.value
    if type(owner) is dict:
        return owner.get(key)
    if type(owner) is list and type(key) is int and key < len(owner):
        return owner[key]
    return None


def present(name: str, value: dict[Any, Any], key: str) -> str:
    """Return what a dict has instead of a key, and what to write."""
    options = value.get("options")
    if type(options) is dict and key in options:
        return f", but {name}['options'] has it"
    shown = ", ".join(f"{known!r:.40}" for known in list(value)[:_MOST_KEYS])
    only = f", only {shown}{', …' if len(value) > _MOST_KEYS else ''}" if value else ", it is empty"
    similar = meant(key, [known for known in value if type(known) is str])
    if given_files.is_one(value):
        return only + (similar or given_files.of_a_key(name))
    return only + (similar or f"; {name}.get({key!r:.80}) is None where there is none")


def of_a_module(
    error: ModuleNotFoundError, _frame: types.FrameType | None, order: dict[str, Any]
) -> str:
    """Return where a library is named, and where modules of a plugin's own go."""
    import sys

    top = str(error.name or "").partition(".")[0]
    if top in sys.stdlib_module_names:
        return ""  # it is there, and only has no such part
    is_folder = bool(order["entry"].rpartition(":")[0])
    standard = [name for name in sys.stdlib_module_names if not name.startswith("_")]
    if top not in _DISTRIBUTIONS and top not in _LIKE_STANDARD:
        similar = meant(top, sorted(standard), _NEAR)
        if similar:
            return similar if is_folder else f"{similar} {_OF_ITS_OWN}"
    wanted = _DISTRIBUTIONS.get(top, top.replace("_", "-"))
    library = (
        f'; if it is a library, write dependencies = ["{wanted}"] in the manifest, and '
        f"`{order['install']}`"
    )
    if is_folder:
        return library
    return (
        f"{library}; a single-file plugin has no modules beside it: with some of its own, make it "
        "a folder with a toolrunner.toml"
    )


def of_an_import(error: ImportError, _frame: types.FrameType | None, order: dict[str, Any]) -> str:
    """Return what to write for a module beside this one, and the name that a module has."""
    import re
    import sys

    if not str(error).startswith("attempted relative import"):
        name = re.match(r"cannot import name '(\w+)'", str(error))
        module = sys.modules.get(str(error.name))
        return meant(name[1], dir(module)) if name and module is not None else ""
    step = hints.last_step(error)
    line = "" if step is None else hints.line_of(step)
    found = re.search(r"from\s+\.+\s*(\w*)\s+import\s+\(?\s*(\w+)", line)
    module_name, what = found.groups() if found else ("", "NAME")
    write = f"write from {module_name} import {what}" if module_name else f"write import {what}"
    if order["entry"].rpartition(":")[0]:
        return f"; modules of the plugin's folder are found without the dot: {write}"
    return (
        "; a single-file plugin has no modules beside it: make it a folder with a "
        f"toolrunner.toml, and {write} there"
    )


def of_a_type(error: TypeError, frame: types.FrameType | None, order: dict[str, Any]) -> str:
    """Return what to write for a call that does not fit what is called."""
    return (
        of_a_signature(error, frame, order)
        or of_a_class(error, frame, order)
        or mistaken.of_json(frame)
        or mistaken.of_the_context(frame, str(error))
        or of_a_file(error, order)
    )


def of_a_class(error: TypeError, frame: types.FrameType | None, order: dict[str, Any]) -> str:
    """Return what to write where a method was called on its class, instead of on an instance."""
    import re

    missing = re.match(r"(\w+)\.(\w+)\(\) missing \d+ required positional", str(error))
    if frame is None or missing is None or not is_own(frame, order):
        return ""
    name, method = missing.groups()
    owner = frame.f_locals.get(name, frame.f_globals.get(name))
    code = getattr(vars(owner).get(method), "__code__", None) if isinstance(owner, type) else None
    is_method = code is not None and code.co_varnames[:1] == ("self",)
    step = hints.last_step(error) if is_method else None
    line = "" if step is None else hints.line_of(step)
    if not re.search(rf"\b{name}\s*\.\s*{method}\s*\(", line):
        return ""
    return f"; {name:.80} is a class: make one first, and call that: {name:.80}(…).{method:.80}(…)"


def of_a_program(error: Any) -> str:
    """Return what a program said last that has failed, of what was kept from the log."""
    for words, kept in (("standard error", error.stderr), ("output", error.stdout)):
        text = kept.decode("utf-8", "replace") if isinstance(kept, bytes) else kept
        lines = text.strip().splitlines() if isinstance(text, str) else []
        if lines:
            return f" Its {words} ends with: {lines[-1].strip():.{_LONGEST_LINE}}"
    if getattr(error, "returncode", None) == lookup.NOT_FOUND:
        return f" {lookup.by_a_shell(os.environ.get('PATH', ''))}"
    return ""


def of_a_signature(error: TypeError, frame: types.FrameType | None, order: dict[str, Any]) -> str:
    """Return what to write, and where, if ``run`` cannot be called as a plugin's is."""
    if frame is None or not str(frame.f_globals.get("__name__")).startswith(f"{__package__}."):
        return ""
    place = order.get("run_stands_at")
    if not place or not str(error).startswith(f"{place['name']}() "):
        return ""
    bound = "self, " if place["is_bound"] else ""
    name = place["name"].rpartition(".")[2]
    folder = order["path"] if order["folder"] else order["path"].rpartition("/")[0]
    return (
        f"; write {name}({bound}payload), or {name}({bound}payload, context), in line "
        f"{place['line']} of {place['file'].removeprefix(f'{folder}/')}"
    )


def instead_of_run(module: types.ModuleType) -> str:
    """Return what of a module without ``run`` and ``Plugin`` is meant to be one, and where."""
    import re

    source = str(module.__loader__.get_source(module.__name__))  # type: ignore[union-attr]
    found = [
        (source.count("\n", 0, one.start()) + 1, one[1].split()[-1], one[2])
        for one in re.finditer(r"^(async +def|def|class) +(\w+)", source, re.MULTILINE)
    ]
    functions = [name for _, kind, name in found if kind == "def" and not name.startswith("_")]
    for line, kind, name in found:
        if kind == "class":
            meant_to_be = "Plugin"
            is_it = hasattr(getattr(module, name, None), "run") or bool(meant(name, ["Plugin"]))
        else:
            meant_to_be = "run"
            is_it = name.lower() in _RUNS or functions == [name] or bool(meant(name, ["run"], _FAR))
        if is_it:
            words = "a class" if kind == "class" else "a function"
            file = str(module.__file__).rpartition("/")[2]
            return f"; line {line} of {file} has {words} {name}: call it {meant_to_be}"
    return ""


def of_input(error: EOFError, _frame: types.FrameType | None, _order: dict[str, Any]) -> str:
    """Return what to do where something waits to be typed in."""
    return _NO_TERMINAL if str(error) == "EOF when reading a line" else ""


def is_of_a_picture(error: BaseException) -> bool:
    """Tell whether Pillow could not read what it was given."""
    is_damage = isinstance(error, SyntaxError) or (isinstance(error, OSError) and not error.errno)
    return is_damage and is_pillows(last_frame(error))


def is_pillows(frame: types.FrameType | None) -> bool:
    """Tell whether a frame is of Pillow's code."""
    return frame is not None and str(frame.f_globals.get("__name__")).startswith("PIL.")


def own_steps(error: BaseException, order: dict[str, Any]) -> list[types.TracebackType]:
    """Return the steps of an exception's traceback that are of the plugin's own code."""
    return [step for step in hints.steps_of(error) if is_own(step.tb_frame, order)]


def is_own(frame: types.FrameType, order: dict[str, Any]) -> bool:
    """Tell whether a frame is of the plugin's own code."""
    path: str = order["path"]
    return f"{frame.f_code.co_filename}/".startswith(f"{path}/")


def meant(name: str | None, known: list[str], cutoff: float = _LIKE) -> str:
    """Return a question for the known name that is most like one."""
    if not name:
        return ""
    import difflib

    some = [one for one in known if not one.startswith("__")][:_MOST_NAMES]
    found = difflib.get_close_matches(name, some, n=1, cutoff=cutoff)
    return f"; did you mean {found[0]!r:.80}?" if found and found[0] != name else ""


_HINTS: tuple[tuple[type[BaseException], Any], ...] = (
    (ModuleNotFoundError, of_a_module),
    (ImportError, of_an_import),
    (NameError, of_a_name),
    (AttributeError, of_an_attribute),
    (KeyError, of_a_key),
    (EOFError, of_input),
    (TypeError, of_a_type),
)
_BY_NAME = {"BdbQuit": _NO_TERMINAL}
_PROGRAMS = frozenset({"CalledProcessError", "TimeoutExpired"})  # of subprocess


def refuse_breakpoints() -> None:
    """Have ``breakpoint()`` say how to debug, where there is no terminal to do it in."""
    import sys

    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("breakpoint() cannot stop here" + _NO_TERMINAL)

    sys.breakpointhook = refused
