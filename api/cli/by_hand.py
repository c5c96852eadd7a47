"""The line that runs a plugin which is a program by hand, without a box: for its author to copy.

Called by ``debugging``. Nothing is run or written here.
"""

from __future__ import annotations

import base64
import json
import mimetypes
import shlex
from pathlib import Path
from typing import Any

from toolrunner.api.cli.own_samples import Sample
from toolrunner.plugins.discovery import BUNDLED, Plugin
from toolrunner.runner.payloads.files import guess_type

_MOST_TYPED = 500  # bytes of a text that is part of the line as it is


def by_hand(plugin: Plugin, sample: Sample) -> str:
    """Return the line for a shell: what a box has is made, and progress goes nowhere.

    It works in a new folder, which it names, as a call works in its scratch and not in the
    plugin's folder.
    """
    folder, manifest = Path(plugin.path).resolve(), plugin.manifest
    steps = ['cd "$(mktemp -d)"', "pwd >&2", "mkdir output"]
    payload = dict(sample.payload)
    if manifest.input != "json":
        steps[-1] += " input"
        given = payload.pop("files", None) or [{"data": payload.pop("image")}]
        told = []
        for place, file in enumerate(given):
            path = sample.files[place] if place < len(sample.files) else _bundled(file["data"])
            mime_type = file.get("mime_type") or payload.get("mime_type")
            name = Path(path).name if path else file.get("name") or _name(mime_type)
            made, size = _made(file, path, name)
            steps.append(made)
            mime_type = mime_type or guess_type(name)
            told.append(
                {"name": name, "path": f"input/{name}", "mime_type": mime_type, "bytes": size}
            )
        payload |= {"files": told} if manifest.input == "files" else {"image": told[0]}
    text = shlex.quote(json.dumps(payload, ensure_ascii=False))
    own = f"TOOLRUNNER_PLUGIN={shlex.quote(str(folder))}"
    command = shlex.join(_placed(manifest.command, folder))
    steps.append(f"printf %s {text} | {own} {command} 3>/dev/null")
    return " && ".join(steps)


def _placed(words: tuple[str, ...], folder: Path) -> list[str]:
    """Return a command as it is from elsewhere: files of the plugin's folder by their paths."""
    first = words[0]
    is_own = "/" in first or (folder / first).is_file()
    return [
        str(folder / first) if is_own else first,
        *(
            str(folder / word) if not word.startswith("-") and (folder / word).is_file() else word
            for word in words[1:]
        ),
    ]


def _bundled(data: bytes) -> str | None:
    """Return where the sample of ours lies that holds this, if it is one."""
    for path in sorted((BUNDLED / "samples").glob("*")):
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return str(path)
    return None


def _name(mime_type: str | None) -> str:
    return f"sample{mimetypes.guess_extension(mime_type or '') or ''}"


def _made(file: dict[str, Any], path: str | None, name: str) -> tuple[str, int]:
    """Return what puts a file below ``input``, and its size."""
    place = shlex.quote(f"input/{name}")
    if path is not None:
        return f"cp {shlex.quote(str(Path(path).resolve()))} {place}", Path(path).stat().st_size
    data: bytes = file["data"]
    is_text = data.isascii() and data.decode("ascii").replace("\n", "").isprintable()
    if len(data) <= _MOST_TYPED and is_text:
        return f"printf %s {shlex.quote(data.decode('ascii'))} >{place}", len(data)
    return f"printf %s {base64.b64encode(data).decode('ascii')} | base64 -d >{place}", len(data)
