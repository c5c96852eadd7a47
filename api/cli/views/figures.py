"""Figures drawn in a terminal: bars and lines of them. In a pipe the numbers beside them are all.

Made of characters that each terminal has in its encoding; colours are rich's to leave out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

_EIGHTHS = " ▏▎▍▌▋▊▉"
_HEIGHTS = " ▁▂▃▄▅▆▇█"
_FULL, _PLAIN_FULL, _PLAIN_SOME = "█", "#", "."
_NARROW, _WIDE = 8, 30
_SHARE_OF_LINE = 3


def _is_drawn(console: Console) -> bool:
    return console.is_terminal


def _width(options: ConsoleOptions) -> int:
    """Return how much of a line a bar asks for."""
    return min(_WIDE, max(_NARROW, options.max_width // _SHARE_OF_LINE))


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a length between 0 and 1; what is longer is as long as 1."""

    fraction: float
    style: str = "green"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the bar, or nothing in a pipe."""
        if not _is_drawn(console):
            yield Text()
            return
        width = min(_WIDE, options.max_width)
        eighths = round(max(0.0, min(1.0, self.fraction)) * width * 8)
        if options.ascii_only:
            whole = round(eighths / 8)
            drawn = _PLAIN_FULL * whole + _PLAIN_SOME * (width - whole)
        else:
            drawn = (_FULL * (eighths // 8) + _EIGHTHS[eighths % 8]).ljust(width)[:width]
        yield Text(drawn, self.style, no_wrap=True, overflow="crop")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Say how much room it takes."""
        if not _is_drawn(console):
            return Measurement(0, 0)
        return Measurement(_NARROW, _width(options))


@dataclass(frozen=True, slots=True)
class Line:
    """Numbers as a line of small bars, each as high as its part of the largest."""

    numbers: Sequence[float]
    style: str = "cyan"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the line, or in a pipe the numbers themselves."""
        if not _is_drawn(console) or options.ascii_only:
            yield Text(" ".join(f"{one:g}" for one in self.numbers))
            return
        most = max(self.numbers, default=0)
        drawn = "".join(_HEIGHTS[_height(one, most)] for one in self.numbers)
        yield Text(drawn, self.style, no_wrap=True, overflow="crop")


def _height(number: float, most: float) -> int:
    """Return how high a number is drawn: what is not nothing can be seen."""
    if number <= 0 or most <= 0:
        return 0
    return max(1, round(number / most * (len(_HEIGHTS) - 1)))


def share_style(fraction: float) -> str:
    """Return the colour of a share of a limit: the fuller, the louder."""
    near, full = 0.75, 1.0
    if fraction >= full:
        return "red"
    return "yellow" if fraction >= near else "green"
