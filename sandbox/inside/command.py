"""A plugin that is a program: looked up when it is loaded, started anew by each call.

Called by the worker in the place of a plugin's module. It runs nothing of the plugin's at loading.
The payload is the program's standard input as JSON; its standard output has to be one JSON object.
What the end of a program means is said here, in words from which its author can mend it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal

from . import inputs, jsonable, leavings, lookup, printed, program_hints
from .conversation import Conversation

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any

    from .context import Context

BLAMES_THE_CALLER = 65  # EX_DATAERR of sysexits.h: "the input data was incorrect in some way"
_BY_A_SHELL = 128  # a shell's status for what a signal has ended, less the signal's number
_MOST_LINES, _MOST_CHARACTERS = 20, 2000  # of its errors, in a message
# What Perl, Node, C, C++ and Python say that get no more memory, as they write it: the same words
# in a sentence of the program's own are no such report.
_OUT_OF_MEMORY = re.compile(
    r"^Out of memory(?:!| in perl)|heap out of memory|Fatal process (?:out of memory|OOM)|"
    r"^(?:Uncaught )?RangeError: Array buffer allocation failed$|"
    r"(?:^|: |\] )(?:Cannot allocate memory(?:$|[:,(!])|[Oo]ut of memory(?:$|!))|"
    r"\bstd::bad_alloc\b|^MemoryError(?:$|:)",
    re.MULTILINE,
)
# Node's own code, by its addresses: it says nothing of the program, and hides what does.
_NATIVE_STACK = re.compile(r"^(?:-+ Native stack trace -+| *\d+: 0x[0-9a-f]+ .*)$")
# By a full scratch, or a file that is larger than one may be (SIGXFSZ, EFBIG).
_FULL = ("no space left on device", "file size limit exceeded", "file too large", "sigxfsz")
# What dash, bash, Node and Perl say that get no more processes.
_NO_PROCESS = ("cannot fork", "fork: retry", "fork: resource temp", "spawn eagain", "can't fork")
_UNSTARTED = {
    errno.ENOEXEC: "it is no program for this machine, and no script, whose first line names what "
    "runs it, as in #!/bin/sh",
    errno.ENOENT: "it, or what its first line names, is not there any more",
    errno.EACCES: "this box may not execute it: programs lie in the plugin's folder, in folders "
    "that read names, or in those of the system",
    errno.E2BIG: "its configuration is too large for an environment",
}


class CommandError(Exception):
    """The program could not be started, or has ended otherwise than with status 0.

    ``claims``: the limit that it says to have met. Words alone are no proof of it: the parent
    looks at what it has seen of the call.
    """

    def __init__(self, message: str, claims: str = "") -> None:
        super().__init__(message)
        self.claims = claims


class RefusedError(OSError):
    """The program was refused something, by the kernel's own word: ``number`` is the errno."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(number, message)
        self._message = message

    def __str__(self) -> str:
        return self._message


class InvalidInput(Exception):
    """The program says that its input is at fault."""


class Command:
    """What runs a program as a plugin is run."""

    def __init__(self, order: dict[str, object]) -> None:
        """``order``: to load it. ``lookup.ProgramNotFoundError`` if there is nothing to start."""
        words = order["command"]
        assert isinstance(words, list)
        self._words: list[str] = words
        self._order = order
        self._folder = str(order["path"])
        self._path = lookup.find(words[0], self._folder)
        self._arguments = [lookup.placed(word, self._folder) for word in words[1:]]
        self._config = json.dumps(order["config"])
        self._language = " ".join([*words, lookup.first_line(self._path)])

    def run(self, payload: dict[str, Any], context: Context) -> object:
        """Run the program once; return its answer."""
        held = Conversation(
            json.dumps(self._given(payload), ensure_ascii=False).encode(),
            context.output_bytes,
            context.progress,
        )
        os.makedirs(leavings.FOLDER, exist_ok=True)
        try:
            status = held.hold(
                self._path, [self._path, *self._arguments], self._environment(context)
            )
        except BlockingIOError:
            raise  # too many processes
        except OSError as error:
            raise CommandError(f"{self._name} cannot be started: {unstarted(error)}") from None
        if not held.is_too_long:
            self._judge(status, held)
            printed.check(held.answer, self._language)
            leavings.give_back(context.artifacts)
        # An answer that is too long the parent refuses by its length.
        return jsonable.Encoded(bytes(held.answer))

    def _given(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return a payload as the program is given it: of an image it gets the path."""
        image = payload.get("image")
        if not isinstance(image, bytes):
            return payload
        # That of a rehearsal, which comes without files.
        [file] = inputs.written([("image", payload["mime_type"], image)])
        return {**payload, "image": file}

    @property
    def _name(self) -> str:
        return " ".join(self._words)[:200]

    def _environment(self, context: Context) -> dict[str, str]:
        traced = {"TRACEPARENT": context.traceparent} if context.traceparent else {}
        return {
            **os.environ,
            **traced,
            "TOOLRUNNER_CALL_ID": context.call_id,
            "TOOLRUNNER_CONFIG": self._config,
            "TOOLRUNNER_PLUGIN": self._folder,
            "TOOLRUNNER_TOOL": context.tool,
            "TOOLRUNNER_SECONDS_LEFT": f"{context.seconds_left():.3f}",
        }

    def _judge(self, status: int, held: Conversation) -> None:
        """Raise what the end of a program means, if it is no success."""
        if not status and held.answer and not held.answer.isspace():
            return
        said = last_lines(held.errors)
        if not status and not says_why(failure(said)):
            return
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
            # The kernel's own word for a limit: passed on, it is told as one.
            os.kill(os.getpid(), signal.SIGXCPU)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == BLAMES_THE_CALLER:
            raise InvalidInput(said)
        by_file_size = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXFSZ
        message = f"{self._name} {ending(status)}"
        message += f"; its standard error ends with:\n{said}" if said else ", and said nothing"
        missing = [word for word in self._words[1:] if lookup.looks_missing(word, self._folder)]
        if missing:
            message += f"\nthere is no file {missing[0]} in the plugin's folder"
        elif not says_why(failure(message)):  # a limit has words of its own
            advice = program_hints.advice(said, _code(status), self._order)
            message += f"\n{advice}" if advice else ""
        raise RefusedError(errno.EFBIG, message) if by_file_size else failure(message)


def _code(status: int) -> int:
    """Return a program's exit status, or -1 for one that a signal has ended."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1


def unstarted(error: OSError) -> str:
    """Return why a program that was there could not be started."""
    return _UNSTARTED.get(error.errno or 0, error.strerror or str(error))


def ending(status: int) -> str:
    """Return how a program has ended."""
    if os.WIFSIGNALED(status):
        return f"was ended by {signal_name(os.WTERMSIG(status))}"
    code = os.WEXITSTATUS(status)
    name = signal_name(code - _BY_A_SHELL) if code > _BY_A_SHELL else ""
    by_signal = f" (as a shell says that {name} has ended something)" if name[:3] == "SIG" else ""
    return f"ended with exit status {code}{by_signal}"


def signal_name(number: int) -> str:
    """Return a signal's name, such as SIGSEGV."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def failure(message: str) -> Exception:
    """Return what to raise for a program that has failed: by its words, for want of something."""
    words = message.lower()
    if _OUT_OF_MEMORY.search(message):
        return MemoryError(message)
    if any(sign in words for sign in _FULL):
        return CommandError(message, "scratch_mb")
    if any(sign in words for sign in _NO_PROCESS):
        return CommandError(message, "processes")
    return CommandError(message)


def says_why(error: Exception) -> bool:
    """Tell whether a program that has said nothing else has said what it was in want of."""
    return not isinstance(error, CommandError) or bool(error.claims)


def last_lines(errors: bytes) -> str:
    """Return the end of what a program has written to its standard error, as it is quoted."""
    lines = errors.decode("utf-8", "replace").rstrip().splitlines()
    told = [line for line in lines if not _NATIVE_STACK.match(line)]
    return "\n".join(told[-_MOST_LINES:]).rstrip()[-_MOST_CHARACTERS:]
