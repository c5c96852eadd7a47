"""The line that runs a plugin which is a program by hand, without a box: for its author to copy.

Called by ``debugging``. Nothing is run or written here.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from toolrunner.api.cli.own_samples import Sample
from toolrunner.plugins.discovery import Plugin
from toolrunner.runner.payloads.files import guess_type

_MOST_TYPED = 500  # bytes of a text that is part of the line


def by_hand(plugin: Plugin, sample: Sample) -> str:
    """Return the line for a shell: what a box has is made, and progress goes nowhere.

    Files that cannot be named, or written in a line, are FILE in it.
    """
    folder, manifest = Path(plugin.path), plugin.manifest
    first, *others = manifest.command
    if "/" not in first and (folder / first).is_file():
        first = f"./{first}"
    steps = [f"cd {shlex.quote(str(folder.resolve()))}", "mkdir -p output"]
    payload = dict(sample.payload)
    if manifest.input != "json":
        steps[-1] += " input"
        given = payload.pop("files", None) or [{"data": payload.pop("image")}]
        told = []
        for place, file in enumerate(given):
            path = sample.files[place] if place < len(sample.files) else None
            name = Path(path).name if path else file.get("name", "FILE")
            made, size = _made(file, path, name)
            mime_type = file.get("mime_type") or payload.get("mime_type") or guess_type(name)
            steps.append(made)
            told.append(
                {"name": name, "path": f"input/{name}", "mime_type": mime_type, "bytes": size}
            )
        payload |= {"files": told} if manifest.input == "files" else {"image": told[0]}
    text = shlex.quote(json.dumps(payload, ensure_ascii=False))
    steps.append(f"printf %s {text} | {shlex.join((first, *others))} 3>/dev/null")
    return " && ".join(steps)


def _made(file: dict[str, Any], path: str | None, name: str) -> tuple[str, int]:
    """Return what puts a file below ``input``, and its size."""
    place = shlex.quote(f"input/{name}")
    if path is not None:
        return f"cp {shlex.quote(str(Path(path).resolve()))} {place}", Path(path).stat().st_size
    data: bytes = file["data"]
    if len(data) <= _MOST_TYPED and data.isascii():
        return f"printf %s {shlex.quote(data.decode('ascii'))} >{place}", len(data)
    return f"cp FILE {place}", len(data)
