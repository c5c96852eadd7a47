"""The same call for a shell and for Python, to be copied: quoted, whatever names it has.

Both read the key from the environment, where keys are in use: none is ever written on a page.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KEY_VARIABLE = "TOOLRUNNER_KEY"
_ANALYZE = "/v1/analyze"


@dataclass(frozen=True, slots=True)
class Given:
    """A file of the call, by the name and type that it was given with."""

    name: str
    mime_type: str


@dataclass(frozen=True, slots=True)
class Request:
    """What a call asks for, without the content of its files; ``payload`` is of JSON plugins."""

    address: str
    plugin: str
    has_keys: bool = False
    image: Given | None = None
    files: Sequence[Given] = ()
    options: Mapping[str, Any] | None = None
    payload: Mapping[str, Any] | None = None

    @property
    def url(self) -> str:
        """Where it is sent."""
        return f"{self.address}{_ANALYZE}"


def as_curl(request: Request) -> str:
    """Return the call as a command line of curl, for a POSIX shell."""
    pieces = [f"curl {shlex.quote(request.url)}"]
    if request.has_keys:
        pieces.append(f'-H "Authorization: Bearer ${KEY_VARIABLE}"')
    if request.payload is not None:
        body = json.dumps({"plugin": request.plugin, "payload": request.payload})
        pieces += ["-H 'Content-Type: application/json'", f"--data-raw {shlex.quote(body)}"]
        return _lines(pieces)
    pieces.append(f"--form-string {shlex.quote(f'plugin={request.plugin}')}")
    if request.image is not None:
        pieces.append(f"-F {shlex.quote(_part('image', request.image))}")
    pieces += [f"-F {shlex.quote(_part('files', one))}" for one in request.files]
    if request.options is not None:
        options = json.dumps(request.options)
        pieces.append(f"--form-string {shlex.quote(f'options={options}')}")
    return _lines(pieces)


def as_python(request: Request) -> str:
    """Return the call as a program that needs nothing but the standard library."""
    lines = ["import base64, json, urllib.request" if request.payload is None else ""]
    if request.payload is not None:
        lines = ["import json, urllib.request"]
    if request.has_keys:
        lines[0] = lines[0].replace("json,", "json, os,")
    lines += ["", *_body(request), ""]
    lines += [
        "request = urllib.request.Request(",
        f"    {request.url!r},",
        "    json.dumps(body).encode(),",
        '    {"Content-Type": "application/json"},',
        ")",
    ]
    if request.has_keys:
        key = f'os.environ["{KEY_VARIABLE}"]'
        lines.append(f'request.add_header("Authorization", "Bearer " + {key})')
    lines += ["with urllib.request.urlopen(request) as answer:", "    print(json.load(answer))"]
    return "\n".join(lines) + "\n"


def _body(request: Request) -> list[str]:
    """Return the lines that make the body."""
    plugin = f'"plugin": {request.plugin!r}'
    if request.payload is not None:
        return [f'body = {{{plugin}, "payload": {dict(request.payload)!r}}}']
    lines: list[str] = []
    if request.image is not None:
        lines += [
            f"with open({request.image.name!r}, 'rb') as file:",
            "    image = base64.b64encode(file.read()).decode()",
            f'body = {{{plugin}, "image": image, "mime_type": {request.image.mime_type!r}}}',
        ]
    else:
        lines += [
            "files = []",
            f"for name, mime_type in {[(one.name, one.mime_type) for one in request.files]!r}:",
            "    with open(name, 'rb') as file:",
            "        data = base64.b64encode(file.read()).decode()",
            '    files.append({"name": name, "mime_type": mime_type, "data": data})',
            f'body = {{{plugin}, "files": files}}',
        ]
    if request.options is not None:
        lines.append(f'body["options"] = {dict(request.options)!r}')
    return lines


def _part(field: str, given: Given) -> str:
    """Return a file as curl's -F takes it: what would end its name there is quoted."""
    name = given.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'{field}=@"{name}";type={given.mime_type}'


def _lines(pieces: Sequence[str]) -> str:
    return " \\\n  ".join(pieces)
