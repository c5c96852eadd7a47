"""Where a cell was when its time was over, or when it crashed, as it has written to its errors.

The text is the plugin's word, as all that it prints; it is only ever shown.
"""

from __future__ import annotations

import re
from pathlib import Path

from toolrunner.sandbox.inside import protocol

# As faulthandler writes it, the innermost frame first.
_STACK = re.compile(
    r"(?:Fatal Python error: [^\n]+\n\n)?"
    r"Stack \(most recent call first\):\n(?P<frames>(?:  File \"[^\n]+\", line \d+ in [^\n]+\n)+)"
    r"(?:\nExtension modules: [^\n]+\n)?"
)
_FRAME = re.compile(r'  File "(?P<file>[^\n]+)", line (?P<line>\d+) in (?P<function>[^\n]+)\n')
# What runs a plugin: ours, an event loop, the machinery of imports.
_NOT_OF_A_PLUGIN = (str(Path(protocol.__file__).parent), "<frozen ")
_LOOP = "/asyncio/"


def taken_out(text: str) -> tuple[str, str]:
    """Return the last stack in what a cell has printed, as a traceback has it, and all the rest.

    From the plugin's first frame on; nothing, if there is none of its own.
    """
    found = None
    for stack in _STACK.finditer(text):
        found = stack
    if found is None:
        return "", text
    frames = list(_FRAME.finditer(found["frames"]))[::-1]
    while frames and _is_around(frames[0]["file"]):
        del frames[0]
    lines = [f'  File "{f["file"]}", line {f["line"]}, in {f["function"]}\n' for f in frames]
    rest = text[: found.start()] + text[found.end() :]
    return "".join(["Where it was (most recent call last):\n", *lines]) if lines else "", rest


def _is_around(file: str) -> bool:
    return file.startswith(_NOT_OF_A_PLUGIN) or _LOOP in file
