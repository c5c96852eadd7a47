"""Runs a program without any box, for its author's debugger: this process becomes its interpreter.

Called by ``plugins check --debug`` alone. Nothing is confined here, so root is refused, under
whatever number; ``inside/plain.py`` refuses it again.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from toolrunner.sandbox import spawn
from toolrunner.sandbox.exchange.messages import load_order
from toolrunner.sandbox.profile import Program
from toolrunner.sandbox.root_host import is_root

ORDER = "order.json"  # what inside/plain.py reads


class RootError(Exception):
    """The one who asks is root, whose plugins run in boxes alone."""


def check_user() -> None:
    """Raise RootError for root."""
    if is_root():
        message = "root runs no plugin without a box"
        raise RootError(message)


def become(program: Program, request: dict[str, Any]) -> NoReturn:
    """Run a program once in this process's place, its scratch a temporary folder.

    ``request``: as a box rehearses it.
    """
    check_user()
    folder = Path(tempfile.mkdtemp(prefix="toolrunner-debug-"))
    try:
        order: dict[str, Any] = json.loads(load_order(program, warms_up=False))
        order["call"] = request
        (folder / ORDER).write_text(json.dumps(order), encoding="utf-8")
        spawn.become_plain(program.interpreter.executable, str(folder))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
