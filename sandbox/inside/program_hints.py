"""What to do about the failure of a plugin that is a program, by what its standard error says.

Called by ``command`` when a program has failed. It is advice alone: these are the program's words.
"""

from __future__ import annotations

import os
import re

from . import hints, lookup

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_NO_HOST = re.compile(
    r"\bcould not resolve\b|\bEAI_AGAIN\b|\bENETUNREACH\b|network is unreachable|"
    r"failure in name resolution",
    re.IGNORECASE,
)
_OF_BASH = re.compile(r"\[\[: not found|Syntax error: \"\(\" unexpected|Bad substitution")
_NO_PROGRAM = re.compile(
    r"([^\s:'\"]+): (?:command |)not found$|(/[^\s:'\"]+): No such file or directory$", re.MULTILINE
)
_NO_PACKAGE = re.compile(r"Cannot find (?:package|module) '((?:@[\w.-]+/)?[\w-][\w.-]*)")
_UNWRITABLE = re.compile(
    r"read-only file system|\bEROFS\b|\binput/[^\n]*permission denied|\bEACCES\b[^\n]*\binput/",
    re.IGNORECASE,
)
_NO_FILE = re.compile(r"no such file|\bENOENT\b", re.IGNORECASE)
_MOST_WORDS = 200
_WRITE_HERE = (
    "a program may write to its working directory alone, where it begins; what it leaves in "
    "output/ there is given back"
)


def advice(said: str, code: int, order: dict[str, Any]) -> str:
    """Return what to do, or ""; ``order``: the one to load the plugin."""
    if _NO_HOST.search(said) and not order["network"]:
        return hints.no_network(order["name"])
    if _OF_BASH.search(said):
        return "sh knows no [[ and no arrays: begin the script with #!/bin/bash, or do without"
    program = _NO_PROGRAM.search(said)
    if program and code == lookup.NOT_FOUND:
        name = program[1] or program[2]
        if "/" in name:
            return f"{name}: {hints.unseen(name, order)}"
        return lookup.remedy_in(os.environ.get("PATH", ""), name)
    package = _NO_PACKAGE.search(said)
    if package:
        return (
            f"no call installs anything: run `npm install {package[1]}` once, in the plugin's "
            "folder, where its node_modules is found"
        )
    if _UNWRITABLE.search(said):
        return _WRITE_HERE
    for name in _missing(said):
        if not hints.cannot_be_opened(os.path.join(str(order["path"]), name)):
            return (
                f"{name} is in the plugin's folder, and the working directory is the call's "
                "scratch: the environment variable TOOLRUNNER_PLUGIN has that folder"
            )
    return ""


def _missing(said: str) -> Iterator[str]:
    """Yield what may be the names of files that were not found in the working directory."""
    here = f"{os.getcwd()}/"
    for line in said.splitlines():
        if _NO_FILE.search(line):
            for word in re.split(r"[\s'\"`\u2018\u2019]+", line)[:_MOST_WORDS]:
                name = word.strip(":,;()").removeprefix(here).removeprefix("./")
                if name and not name.startswith(("/", "-", ".")):
                    yield name
