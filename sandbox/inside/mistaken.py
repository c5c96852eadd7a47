"""What is said where a plugin takes one thing for another: its context, its payload, a font.

Asked by ``mistakes``. It is advice alone.
"""

from __future__ import annotations

import os

from .context import Context

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    import types
    from typing import Any

_CONTEXT = (
    "; the second parameter of run is the context; what the caller gave is in the first one: "
    'options, where there are some, are payload["options"]'
)
# What only an interactive Python has.
_ENDS = frozenset({"exit", "quit"})
_END = "; only an interactive Python has {name}(): run ends with return, or with raise"
_FONT = (
    "; no font {name} is where a plugin may look: {where}, and give "
    "str(Path(__file__).parent / {name!r}); ImageFont.load_default() needs none"
)
_WHERE = "put it into the plugin's folder"
_WHERE_OF_A_FILE = "make the plugin a folder with a toolrunner.toml, put the font there"


def of_the_context(frame: types.FrameType | None, said: str) -> str:
    """Return what a context is, if an error's words are of one that was used as a dict."""
    if frame is None or "Context" not in said:
        return ""
    return _CONTEXT if any(type(one) is Context for one in frame.f_locals.values()) else ""


def of_json(frame: types.FrameType | None) -> str:
    """Return that nothing is to be read, if ``json`` was given what is no text any more."""
    if frame is None or frame.f_globals.get("__name__") != "json":
        return ""
    given = frame.f_locals.get("s", frame.f_locals.get("fp"))
    kind = type(given).__name__
    is_read = type(given) in (dict, list)
    return f"; it is no JSON text but a {kind} already: use it as it is" if is_read else ""


def of_an_end(name: str | None) -> str:
    """Return how a plugin ends, if a name is what others end with."""
    return _END.format(name=name) if name in _ENDS else ""


def of_a_font(frame: types.FrameType | None, order: dict[str, Any]) -> str:
    """Return where a font goes, if Pillow has found none."""
    if frame is None or frame.f_globals.get("__name__") != "PIL.ImageFont":
        return ""
    font = frame.f_locals.get("font")
    if isinstance(font, os.PathLike):
        font = os.fspath(font)
    if type(font) is not str or os.path.isfile(font):
        return ""
    is_folder = bool(order["entry"].rpartition(":")[0])
    where = _WHERE if is_folder else _WHERE_OF_A_FILE
    return _FONT.format(name=os.path.basename(font)[:80], where=where)
