"""The progress bar of a command's calls, on stderr, and only where somebody looks.

``commands`` opens one around its calls. On a pipe or a dumb terminal it does nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType

from rich import progress as bars

from toolrunner.api.cli.calls import Watcher
from toolrunner.api.cli.console import Terminal, plain

_MAX_MESSAGE = 60


def is_watched(terminal: Terminal) -> bool:
    """Tell whether somebody looks at the bar."""
    return terminal.err.is_terminal and not terminal.err.is_dumb_terminal


class Progress:
    """A bar over many calls, or over what a single one says of itself."""

    def __init__(self, terminal: Terminal, title: str, total: int) -> None:
        console = terminal.err
        self._total = total
        self.is_shown = is_watched(terminal)
        self._bars = bars.Progress(
            bars.SpinnerColumn(),
            bars.TextColumn("{task.description}", markup=False),
            bars.BarColumn(),
            bars.TaskProgressColumn() if total == 1 else bars.MofNCompleteColumn(),
            bars.TimeElapsedColumn(),
            console=console,
            transient=True,
            # Results go to stdout as they are, wherever the bar is.
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not self.is_shown,
        )
        # One call alone has no total before it speaks: the bar only shows that it lives.
        self._title = plain(title).plain
        self._task = self._bars.add_task(self._title, total=total if total > 1 else None)

    @property
    def watcher(self) -> Watcher:
        """What hears of the calls on behalf of this bar."""
        if self._total == 1:
            return Watcher(on_progress=self._hear)
        return Watcher(on_done=lambda: self._bars.advance(self._task))

    def leave_out(self, number: int) -> None:
        """Take calls off the total that turned out to be none."""
        if self._total > 1:
            self._bars.update(self._task, total=self._total - number)

    def _hear(self, fraction: float, message: str) -> None:
        words = plain(message[:_MAX_MESSAGE].replace("\n", " ")).plain
        title = f"{self._title}: {words}" if words else self._title
        self._bars.update(self._task, total=1.0, completed=fraction, description=title)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bar away while something else is printed."""
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()
