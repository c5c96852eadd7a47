"""The terminal: results on stdout, words for people on stderr.

Every command prints through a ``Terminal``. Text from plugins and files passes ``plain`` first:
nothing here lets control characters or markup through.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import dataclass, field
from datetime import datetime

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from toolrunner.runner.errors import harmless
from toolrunner.sandbox.limits import MIB

# A pipe has no width: lines are wrapped late, so that words stay together for grep.
_PIPE_COLUMNS = 200
_MOST_RECORDS = 1000  # of a plugin's that are shown, where each is shown once
_FEW_COLUMNS = 20  # that words get at least, in whatever terminal


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Pass the error on: whoever runs the command knows how to end it."""
        raise BrokenPipeError


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    is_piped = not stream.isatty() and "COLUMNS" not in os.environ
    width = _PIPE_COLUMNS if is_piped else None
    return _Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=width)


@dataclass(frozen=True, slots=True)
class Terminal:
    """Both streams of a command."""

    out: Console = field(default_factory=lambda: _console(stderr=False))
    err: Console = field(default_factory=lambda: _console(stderr=True))

    def document(self, value: object) -> None:
        """Print one JSON document on a line of its own, in ASCII: safe in every terminal."""
        sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
        sys.stdout.flush()

    def write(self, text: str) -> None:
        """Print text of our own as it is, for a program to read."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def show(self, view: RenderableType) -> None:
        """Print a result. What is not to be broken may be longer than a line, and is not cut."""
        self.out.print(view, crop=False)

    def say(self, words: str | Text) -> None:
        """Print words for people."""
        self.err.print(plain(words) if isinstance(words, str) else words, soft_wrap=True)


def plain(text: object, style: str = "") -> Text:
    """Return text of any origin so that it can only ever be read."""
    return Text(harmless(str(text)).expandtabs(), style=style)


def counted(number: int, what: str) -> str:
    """Return how many there are of something, in words."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def size_words(number: int) -> str:
    """Return bytes as a person reads them."""
    return f"{number / MIB:.1f} MiB"


def moment_words(moment: datetime | None) -> str:
    """Return a moment of UTC as a person reads it, by the second; "" for none."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"


def unbroken(text: str, style: str = "") -> Text:
    """Return a line that no terminal's width breaks: a command that is to be copied."""
    line = plain(text, style)
    line.no_wrap, line.overflow = True, "ignore"
    return line


class Hanging:
    """A line of ours that ends in words of any origin, however many lines these take.

    Each of their lines but the first stands behind ``mark``, also where a terminal's width breaks
    them: so none of them can pass for a line of ours.
    """

    def __init__(self, first: str | Text, words: object, mark: str, style: str = "") -> None:
        self._first = first if isinstance(first, Text) else Text(first, style=style)
        self._words = plain(words, style)
        self._mark = Text(mark, style=style)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines, none of them longer than there is room for."""
        before = max(self._first.cell_len, self._mark.cell_len)
        lines = self._words.wrap(console, max(_FEW_COLUMNS, options.max_width - before))
        for number, line in enumerate(lines or [Text()]):
            line.rstrip()
            whole = Text.assemble(self._mark if number else self._first, line)
            whole.no_wrap, whole.overflow = True, "ignore"
            yield whole


def table_of(*columns: str) -> Table:
    """Return an empty table with these headings, in the one style that all tables have."""
    return Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)


class LogHandler(logging.Handler):
    """Shows log records as lines on stderr; tracebacks only for those who debug."""

    def __init__(self, console: Console, *, debug: bool) -> None:
        super().__init__()
        self._console = console
        self._formatter = logging.Formatter()
        self._debug = debug

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record; a line in it cannot pass for another record."""
        try:
            text = f"{record.levelname} {record.name}: {record.getMessage()}"
            if self._debug and record.exc_info:
                text += "\n" + self._formatter.formatException(record.exc_info)
            style = "yellow" if record.levelno >= logging.WARNING else "dim"
            self._console.print(plain(text.replace("\n", "\n    "), style), soft_wrap=True)
        except BrokenPipeError:
            pass  # nobody reads: the command finds out by itself
        except Exception:  # noqa: BLE001 - logging's own rule: a handler never raises
            self.handleError(record)


class FirstOfEach(logging.Filter):
    """Lets the first record pass of those that say the same, whichever calls they are of."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[tuple[object, ...]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record of a plugin's says something new."""
        call_id = getattr(record, "call_id", "")
        said = (record.levelno, record.getMessage().removeprefix(f"{call_id}: "))
        is_new = said not in self._said and len(self._said) < _MOST_RECORDS
        self._said.add(said)
        return is_new


def show_logs(terminal: Terminal, *, verbose: bool, debug: bool) -> None:
    """Send this process's log to stderr: warnings, or with ``verbose`` also what happens."""
    root = logging.getLogger("toolrunner")
    root.setLevel(logging.INFO if verbose else logging.WARNING)
    root.addHandler(LogHandler(terminal.err, debug=debug))
    root.propagate = False
    if not verbose:
        # What a name that is unknown and a call that has failed come to, the command itself says.
        for name in ("toolrunner.registry", "toolrunner.calls"):
            logging.getLogger(name).setLevel(logging.ERROR)
