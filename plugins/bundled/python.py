# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2.0"]
# [tool.toolrunner]
# name = "python"
# version = "1.0.0"
# description = "Runs a piece of Python, and answers what it prints, comes to and writes"
# input = "json"
# limits = { wall_seconds = 30, cpu_seconds = 30, memory_mb = 1024, processes = 16 }
#
# [tool.toolrunner.input_schema]
# type = "object"
# required = ["code"]
# additionalProperties = false
# description = """
# Each call is a new process: no variable, file or import of an earlier one is there. It has the \
# standard library, NumPy and Pillow; try to import others, since none can be installed. To give \
# back a value, end the code with an expression: lists, dicts, numbers, text, arrays and tables \
# come back as JSON in "value", pictures of Pillow and Matplotlib as files, all else as its \
# repr. To give back files, write them into the working directory, where those of "files" are as \
# well: the first 64 come back. "stdout" and "stderr" have what was printed, and "error" has the \
# type, message, line and traceback of an exception that has ended the code, or null."""
# examples = [
#     { code = "import numpy as np\nnp.arange(3) * 2" },
#     { code = "print(input())", stdin = "one line\n" },
#     { code = "open('a.txt').read().upper()", files = [{ name = "a.txt", text = "one" }] },
# ]
#
# [tool.toolrunner.input_schema.properties.code]
# type = "string"
# description = "What to run; the value of a last line that is an expression is answered"
#
# [tool.toolrunner.input_schema.properties.stdin]
# type = "string"
# default = ""
# description = "What the code reads from standard input"
#
# [tool.toolrunner.input_schema.properties.files]
# type = "array"
# maxItems = 64
# description = "Files of its working directory"
#
# [tool.toolrunner.input_schema.properties.files.items]
# type = "object"
# required = ["name"]
# additionalProperties = false
#
# [tool.toolrunner.input_schema.properties.files.items.properties]
# name = { type = "string", description = "A plain name, without folders" }
# text = { type = "string", description = "What is in it" }
# data = { type = "string", description = "The same as base64" }
# ///
"""Run a piece of Python in the call's own box, and tell what it printed, left and came to.

``stdout`` and ``stderr`` are what it and its processes wrote, up to 1,000,000 characters of each.
``value`` is what its last expression came to, if it ends with one: plain values, arrays and tables
as they are, pictures as artifacts, anything else as its ``repr``. ``error`` is ``None``, or
``{type, message, line, traceback}`` of the exception that ended it, SystemExit with a status among
them; files stand in it by their names below the folder that they were imported from. ``files`` are
those that it wrote, as artifacts: the first 64 by name. ``paths`` says where each of them lay, as
an artifact's name has neither folders nor every character, and ``left_out`` names the others. A
limit that it passes ends the call as that of any plugin does.
"""

from __future__ import annotations

import ast
import base64
import binascii
import contextlib
import linecache
import math
import os
import sys
import tempfile
import traceback
import types
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TextIO, cast

import numpy as np

NAME = "<code>"
MOST_CHARACTERS = 1_000_000
MOST_FILES = 64
MOST_REPR = 10_000
MOST_DEPTH = 50
LONGEST_NAME = 200
CUT = "… [cut]"
# As it was before any code had it.
IMPORTED_FROM = (*sys.path, str(Path(__file__).parent))
# Pictures and tables, which a result can hold, by library and class.
SHOWN = {
    ("PIL", "Image"),
    ("matplotlib", "Figure"),
    ("pandas", "DataFrame"),
    ("pandas", "Series"),
    ("polars", "DataFrame"),
    ("polars", "Series"),
    ("pyarrow", "Table"),
}


class InvalidInput(Exception):
    """The caller's payload is not what this plugin takes."""


def warm_up() -> None:
    """Do once what every piece of code would wait for."""
    np.linalg.inv(np.eye(2))
    np.random.default_rng()


def run(payload: dict[str, Any]) -> dict[str, Any]:
    """Run ``payload["code"]``."""
    given: dict[str, bytes] = {}
    for file in payload.get("files", ()):
        given[file["name"]] = written(file)
    home = Path.cwd()  # the code may go elsewhere
    value: object = None
    error = None
    with redirected(payload.get("stdin", "")) as said:
        try:
            value = executed(payload["code"])
        except MemoryError:
            raise  # the limit of memory, which the host tells of
        except BaseException as raised:  # noqa: BLE001 - all that the code does wrong is its answer
            error = told(raised, home)
    left = sorted(changed(home, given))
    return {
        "stdout": said[0],
        "stderr": said[1],
        "value": shown(value),
        "error": error,
        "files": [home / name for name in left[:MOST_FILES]],
        "paths": [plain(name) for name in left[:MOST_FILES]],
        "left_out": [plain(name) for name in left[MOST_FILES:]],
    }


def written(file: dict[str, Any]) -> bytes:
    """Put a file of the payload into the working directory; return what is in it."""
    name = file["name"]
    is_plain = name.isprintable() and "/" not in name and not name.startswith(".")
    if not name or not is_plain or len(name.encode()) > LONGEST_NAME or os.path.lexists(name):
        message = f"{name!r:.200} cannot be the name of a file here: give each one a plain name"
        raise InvalidInput(message)
    if ("data" in file) == ("text" in file):
        message = f"{name}: give either text, or data, which is base64"
        raise InvalidInput(message)
    try:
        data = (
            base64.b64decode(file["data"], validate=True)
            if "data" in file
            else file["text"].encode()
        )
    except binascii.Error:
        message = f"{name}: its data is no base64"
        raise InvalidInput(message) from None
    Path(name).write_bytes(data)
    return data


def changed(home: Path, given: dict[str, bytes]) -> Iterator[str]:
    """Yield the regular files below a folder by their paths in it, but those left as given."""
    for folder, _, names in os.walk(home):
        for path in [Path(folder, name) for name in names]:
            name = str(path.relative_to(home))
            with contextlib.suppress(OSError):  # a process of the code's may be at it still
                is_file = path.is_file() and not path.is_symlink()
                if is_file and not (name in given and same(path, given[name])):
                    yield name


def same(path: Path, data: bytes) -> bool:
    """Tell whether a file holds just these bytes."""
    return path.stat().st_size == len(data) and path.read_bytes() == data


@contextlib.contextmanager
def redirected(stdin: str) -> Iterator[list[str]]:
    """Have standard input come from a text; yield what holds, afterwards, what was written."""
    said: list[str] = []
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write(stdin.encode())
        given.seek(0)
        kept = [os.dup(number) for number in range(3)]
        streams = sys.stdin, sys.stdout, sys.stderr
        try:
            for number, file in enumerate((given, out, err)):
                os.dup2(file.fileno(), number)
            sys.stdin, sys.stdout, sys.stderr = map(opened, range(3))
            yield said
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(BaseException):  # the code may have put anything there
                    stream.flush()
            sys.stdin, sys.stdout, sys.stderr = streams
            for number, descriptor in enumerate(kept):
                os.dup2(descriptor, number)
                os.close(descriptor)
        said += text_of(out), text_of(err)


def opened(number: int) -> TextIO:
    """Return one of the standard streams anew."""
    mode, lines = ("w", 1) if number else ("r", -1)
    stream = open(number, mode, lines, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 - the caller's
    return cast("TextIO", stream)


def text_of(file: IO[bytes]) -> str:
    """Return what was written, cut where it is long."""
    file.seek(0)
    text = file.read(4 * MOST_CHARACTERS + 4).decode("utf-8", "replace")
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + CUT


def executed(code: str) -> object:
    """Run a piece of code as a program; return what its last expression comes to."""
    linecache.cache[NAME] = (len(code), None, code.splitlines(keepends=True), NAME)
    tree = ast.parse(code, NAME)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    # As a program's own module: what is pickled, or asks where it is from, finds it.
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    exec(compile(tree, NAME, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - what it is for
    if isinstance(last, ast.Expr):
        whole = ast.Expression(last.value)
        return eval(compile(whole, NAME, "eval", dont_inherit=True), module.__dict__)  # noqa: S307 - same
    return None


def told(error: BaseException, home: Path) -> dict[str, Any] | None:
    """Return what there is to tell of an exception; ``None`` for an end that is none."""
    line = None
    try:
        if isinstance(error, SystemExit) and error.code in (None, 0):
            return None
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename != NAME:
            frames = frames.tb_next
        lines = [one.lineno for one in traceback.extract_tb(frames) if one.filename == NAME]
        line = lines[-1] if lines else None
        if isinstance(error, SyntaxError):
            is_line = type(error.lineno) is int and abs(error.lineno) <= MOST_CHARACTERS
            line = error.lineno if is_line else None
        message = plain(placeless(str(error)[:MOST_REPR], home))
        lines_of = traceback.format_exception(error.with_traceback(frames))
        text = plain(placeless("".join(lines_of), home)[-MOST_REPR:])
    except MemoryError:
        raise
    except BaseException as odd:  # noqa: BLE001 - what it does when it is looked at is the code's own
        message = text = f"an exception without words ({kind_of(odd)})"
    return {"type": kind_of(error), "message": message, "line": line, "traceback": text}


def placeless(text: str, home: Path) -> str:
    """Return a text in which no file of the code, Python or a library says where it lies here."""
    # From the longest on: what lies in another is named from there.
    for folder in sorted({str(home), *IMPORTED_FROM}, key=len, reverse=True):
        if folder.startswith("/"):
            text = text.replace(f"{folder.rstrip('/')}/", "")
    return text


def kind_of(error: BaseException) -> str:
    """Return the name of an exception's class, whatever its own class makes of it."""
    return plain(type.__dict__["__name__"].__get__(type(error)))


def plain(text: str) -> str:
    """Return a text that JSON can carry."""
    return text.encode("utf-8", "backslashreplace").decode()


def shown(value: object, depth: int = 0) -> object:
    """Return a value as a result can hold it: as it is, or else as its ``repr``."""
    try:
        return held(value, depth)
    except MemoryError:
        raise
    except BaseException as odd:  # noqa: BLE001 - what it does when it is looked at is the code's own
        return f"a value without words ({kind_of(odd)})"


def held(value: object, depth: int) -> object:
    """Return the same; raise whatever the value's own code raises."""
    if depth < MOST_DEPTH:
        match value:
            case list() | tuple():
                return [shown(one, depth + 1) for one in value]
            case dict() if all(isinstance(key, str) for key in value):
                return {plain(key): shown(one, depth + 1) for key, one in value.items()}
            case np.ndarray() | np.generic() if not value.dtype.hasobject:
                return shown(value.tolist(), depth + 1)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**64:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, str | Path):
        return plain(str(value))
    return described(value)


def described(value: object) -> object:
    """Return a picture or a table as it is, and the ``repr`` of what is neither."""
    kinds = {(one.__module__.partition(".")[0], one.__name__) for one in type(value).__mro__}
    return value if kinds & SHOWN else plain(repr(value)[:MOST_REPR])
