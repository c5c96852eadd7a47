"""The folder for results of ``analyze``: one JSON file an image, whole or not there.

Each is written beside its place and renamed, so that whoever is killed leaves no half of one, and
who goes on knows what is done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from toolrunner.api.cli.exits import Refused
from toolrunner.api.cli.out_folder import RESULT, OutFolder, place_of


class AnswerFolder(OutFolder):
    """A folder that results are written to."""

    def has(self, below: str, plugin: str) -> bool:
        """Tell whether a result of this plugin is there; an error is none."""
        start = _start(plugin)
        folders, name = place_of(below)
        try:
            return self.start_of(f"{name}{RESULT}", folders, len(start)) == start
        except (OSError, Refused):
            return False

    def write(self, below: str, document: Mapping[str, Any]) -> None:
        """Write what became of one image, in the place of what was; raises Refused, and OSError."""
        text = json.dumps(document, allow_nan=False) + "\n"
        folders, name = place_of(below)
        self.put({f"{name}{RESULT}": text.encode("ascii")}, folders)


def _start(plugin: str) -> bytes:
    """Return how the document of a result begins."""
    return json.dumps({"plugin": plugin}).encode().removesuffix(b"}") + b", "
