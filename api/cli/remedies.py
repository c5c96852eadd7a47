"""From why a plugin's call failed to what its author would better do.

Called by ``check``. Pure, and advice alone: it goes by what the plugin itself has said.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from typing import Any

from toolrunner.runner.errors import ErrorType

_OF_A_LOOP = "what print() says in one is shown"
_OF_A_PROGRAMS_LOOP = "what it writes to standard error in one is shown"
_WHAT_TO_DO = {
    ErrorType.OUTPUT_VALIDATION_ERROR: "return a dict of what JSON can carry",
    ErrorType.SANDBOX_ERROR: "see `toolrunner doctor`",
    ErrorType.TIME_LIMIT_EXCEEDED: f"see that every loop ends ({_OF_A_LOOP}), "
    "make it faster, or raise limits.wall_seconds in its manifest",
    ErrorType.CPU_LIMIT_EXCEEDED: f"see that every loop ends ({_OF_A_LOOP}), "
    "make it faster, or raise limits.cpu_seconds in its manifest",
    ErrorType.MEMORY_LIMIT_EXCEEDED: "use less, or raise limits.memory_mb in its manifest",
    ErrorType.DISK_LIMIT_EXCEEDED: "write less, or raise limits.scratch_mb in its manifest",
    ErrorType.OUTPUT_LIMIT_EXCEEDED: "return less, or raise limits.output_mb in its manifest",
    ErrorType.PLUGIN_CRASHED: "see what it printed last; native code may be at fault",
}
_OF_OUTPUT = {
    "artifacts_mb": "give back less, or raise limits.artifacts_mb in its manifest",
    "artifacts": "give back fewer files: many of them can be one archive",
    "output_values": "return fewer values: a large table as text, or as a file",
}
_OF_A_LOAD = {
    "load_seconds": "import less, do less in Plugin() and warm_up(), or raise limits.load_seconds "
    "in its manifest",
    "memory_mb": "load less in its import and in warm_up(), or raise limits.memory_mb in its "
    "manifest: it includes what the import holds",
    "threads": "start fewer threads in its import, or raise limits.threads in its manifest",
    "processes": "start fewer processes in its import, or raise limits.processes in its manifest",
    "scratch_mb": "write less in its import, or raise limits.scratch_mb in its manifest",
}
# Words that are ours, wherever they stand in the message of what was raised.
_BY_WORDS = {
    "a plugin has no network": "load it from files: ship them with it, or name their folder in "
    "read of its manifest; or say network = true there, which the operator has to allow",
    "defines neither run(payload)": "define run(payload), or a class Plugin with "
    "run(self, payload)",
    "the plugin nothing that serves it": "write what serves it, or take the tool out of its "
    "manifest",
    "define run_batch(payloads)": "write run_batch(payloads), or take batch out of its manifest",
}
_BY_EXCEPTION = {
    "ProgramNotFoundError": "do what the message says",
    "CommandError": "mend the program, which is run once when it is loaded (warm_up = true)",
    "SyntaxError": "correct the line that is shown, or the one before it",
    "IndentationError": "correct the spaces before the line that is shown",
    "TabError": "correct the spaces before the line that is shown",
    "ModuleNotFoundError": "name the library in dependencies of its manifest, and install it; "
    "modules of its own need a folder with a toolrunner.toml",
    "FileNotFoundError": "ship the file beside its code (a folder with a toolrunner.toml), or name "
    "the file's folder in read of its manifest",
    "PermissionError": "let every user read it, and name its folder in read of the manifest; write "
    "to the working directory alone",
    "SystemExit": "it may not end its process: take that out of what is run at import",
}
_BY_ERRNO = {
    errno.ENOSPC: "scratch_mb",
    errno.EDQUOT: "scratch_mb",
    errno.EFBIG: "scratch_mb",
    errno.EAGAIN: "processes",
}
_WHERE = "at the line that is shown (toolrunner --debug plugins check: the whole traceback)"
_TOO_MANY_FILES = "leave fewer files open, or raise limits.open_files in its manifest"
_ENDED = "see what it printed last; it may not end its process, and native code may be at fault"
_WARM_UP = f"mend warm_up(), which is called once after loading, {_WHERE}"
_REHEARSAL = (
    "mend run(), which warm_up = true calls once after loading, or take that out of its manifest; "
    f"look {_WHERE}"
)
_RUN = (
    f"mend run(), {_WHERE}; for input that you cannot take, raise an exception of a class named "
    "InvalidInput"
)
_PROGRAM = "mend the program; for input that it cannot take, end it with exit status 65"
_EXAMPLE = (
    "it was called with {{}}: if it needs more, give it a sample, in a line of its manifest below "
    "[tool.toolrunner]: {sample}"
)
_LINE = re.compile(r'^[ |]*File "', re.MULTILINE)
_KEY = re.compile(r"KeyError: '(\w{1,60})'")
_RETURNED = (
    "its result says so, under error_key of its manifest; for input that you cannot take, raise an "
    "exception of a class named InvalidInput"
)
_PARAMETERS = "write run(payload), or run(payload, context): it is called with no more than these"
# What the message itself says to do: see ``sandbox/inside/hints.py``.
_OF_FILES = (
    "a plugin may write to the",
    "the working directory is the call's scratch",
    "which cannot be found on this host",
)
_OF_A_PROGRAM = "the box's PATH is "
_SAID = (
    "a plugin has no network",
    "a single-file plugin has no",
    "name its folder in read",
    *_OF_FILES,
)
_PRINTED = "standard output "  # of a program: see ``sandbox/inside/printed.py``
_AS_IT_SAYS = "do what the message says"
# Of what no line of the plugin has raised: its parts do not fit its manifest.
_NO_LINE = "see that entry in its manifest names what there is, and that it can be called so"
_IMPORT = f"mend what happens at import, {_WHERE}"
CALLED_AGAIN = (
    "run() is called again in the same process: mend what it leaves for the next call, or say "
    'start = "cold"'
)
_STAYING = "mend warm_up() and what else is done once it is loaded: cold calls have no warm_up()"


def what_to_do(
    error: Mapping[str, Any],
    traceback: str,
    *,
    is_loading: bool = False,
    rehearses: bool = False,
    given_nothing: bool = False,
    is_program: bool = False,
) -> str:
    """Return what to do about an error, "" where nobody knows.

    ``is_loading``: it has failed before any call. ``rehearses``: its manifest says
    ``warm_up = true``. ``given_nothing``: it was called with {}.
    ``is_program``: the plugin is no Python.
    """
    details, kind = error["details"], error["type"]
    limit = (details.get("limit") or {}).get("name", "")
    if kind == ErrorType.PLUGIN_LOAD_ERROR:
        return _of_a_load(error["message"], details, limit, traceback, rehearses=rehearses)
    if limit in _OF_A_LOAD and is_loading:
        return _OF_A_LOAD[limit]
    if kind == ErrorType.EXECUTION_ERROR:
        return _of_a_call(error["message"], details, given_nothing=given_nothing)
    if kind == ErrorType.PROCESS_LIMIT_EXCEEDED:
        what = limit or "processes"
        return f"start fewer {what}, or raise limits.{what} in its manifest"
    if kind == ErrorType.OUTPUT_VALIDATION_ERROR and error["message"].startswith(_PRINTED):
        return _AS_IT_SAYS
    words = _OF_OUTPUT.get(limit) or _WHAT_TO_DO.get(kind, "")
    return words.replace(_OF_A_LOOP, _OF_A_PROGRAMS_LOOP) if is_program else words


def _of_a_call(message: str, details: Mapping[str, Any], *, given_nothing: bool) -> str:
    if any(words in message for words in _SAID):
        return _AS_IT_SAYS
    exception = details.get("exception")
    if exception == "TypeError" and "payload, context), in line " in message:
        return _AS_IT_SAYS
    if exception == "CommandError":
        return _PROGRAM
    if exception == "TypeError" and message.startswith("TypeError: run() "):
        return _PARAMETERS
    if exception is None:
        return _RETURNED
    # What code raises that does not find in a payload what it looks for, or was given None for it.
    if given_nothing and (exception == "KeyError" or "NoneType" in message):
        key = _KEY.match(message)
        return _EXAMPLE.format(sample=sample(key[1] if key else "key"))
    return _RUN


def sample(*keys: str) -> str:
    """Return a line of a manifest that gives a plugin a sample with these keys."""
    items = ", ".join(f'{key} = "value"' for key in keys)
    return f"input_schema = {{ examples = [{{ {items} }}] }}"


def of_a_limit(error: Mapping[str, Any], *, is_program: bool = False) -> str:
    """Return what to do about a limit that a call has met, "" about anything else."""
    if not (error["details"].get("limit") or {}).get("name"):
        return ""
    return what_to_do(error, "", is_program=is_program)


def of_a_resident(why: str) -> str:
    """Return what to do about a plugin that answers cold, and cannot be loaded to stay."""
    return _by_words(why) or _STAYING


def _by_words(message: str) -> str:
    return next((remedy for words, remedy in _BY_WORDS.items() if words in message), "")


def _of_a_load(
    message: str, details: Mapping[str, Any], limit: str, traceback: str, *, rehearses: bool
) -> str:
    number = details.get("errno")
    if number == errno.EMFILE:
        return _TOO_MANY_FILES
    known = _OF_A_LOAD.get(limit or _BY_ERRNO.get(number or 0, ""))
    if known:
        return known
    by_words = _by_words(message)
    if by_words:
        return by_words
    is_typo = details.get("exception") == "ModuleNotFoundError" and "; did you mean " in message
    if is_typo or any(words in message for words in (*_OF_FILES, _OF_A_PROGRAM)):
        return _AS_IT_SAYS
    if details.get("exception") in _BY_EXCEPTION:
        return _BY_EXCEPTION[details["exception"]]
    if "signal" in details or "exit_code" in details:
        return _ENDED
    if not _LINE.search(traceback):
        return _AS_IT_SAYS if "; " in message else _NO_LINE
    if ", in warm_up\n" in traceback:
        return _WARM_UP
    return _REHEARSAL if rehearses and ", in run\n" in traceback else _IMPORT
