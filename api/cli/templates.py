"""Writes the plugin that ``toolrunner plugins new`` makes: small, commented, of some use at once.

Called by ``commands``. With each comes a sample of its input and a test; the texts are in
``starters``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from toolrunner.api.cli.exits import Refused
from toolrunner.api.cli.starters import files, image, json_input, node, shell
from toolrunner.plugins import fields


class Template(StrEnum):
    """What a new plugin is given, or what it is written in."""

    IMAGE = "image"
    JSON = "json"
    FILES = "files"
    NODE = "node"
    SHELL = "shell"


@dataclass(frozen=True, slots=True)
class Starter:
    """The files of a template. ``use``: the arguments that run it, "{sample}" for its sample.

    ``is_folder``: the plugin is a folder of its own, and not one file.
    """

    texts: Mapping[str, str]
    use: str
    sample: str = ""
    is_folder: bool = False
    others: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    """A new plugin: what is given to ``--plugins``, all that was written, and how it is run."""

    path: Path
    files: tuple[Path, ...]
    use: str


def _picture(width: int, height: int) -> bytes:
    """Return a PNG file of a gradient."""
    rows = b"".join(
        b"\0" + bytes(v for x in range(width) for v in (8 * x, 16 * y, 128)) for y in range(height)
    )
    header = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _starter(template: Template) -> Starter:
    match template:
        case Template.IMAGE:
            name = "my_plugin_sample.png"
            others = {name: _picture(32, 16)}
            return Starter(image.FILES, "analyze my-plugin {sample}", name, others=others)
        case Template.JSON:
            numbers = "'{\"numbers\": [1, 2, 30]}'"
            return Starter(json_input.FILES, f"run my-plugin --payload {numbers}")
        case Template.FILES:
            return Starter(files.FILES, "run my-plugin {sample}", "my_plugin_sample.csv")
        case Template.NODE:
            text = '\'{"text": "to be or not to be"}\''
            return Starter(node.FILES, f"run my-plugin --payload {text}", is_folder=True)
        case Template.SHELL:
            return Starter(shell.FILES, "run my-plugin {sample}", "sample.txt", is_folder=True)


def write_template(name: str, folder: str, template: Template) -> Written:
    """Write a new plugin; nothing is ever overwritten."""
    try:
        fields.name(name)
    except ValueError as error:
        message = f"the name {name[:80]!r} {error}"
        raise Refused(message) from None
    starter = _starter(template)

    def named(text: str) -> str:
        return text.replace("my-plugin", name).replace("my_plugin", name.replace("-", "_"))

    place = Path(folder, name) if starter.is_folder else Path(folder)
    contents = {place / named(path): named(text).encode() for path, text in starter.texts.items()}
    contents |= {place / named(path): data for path, data in starter.others.items()}
    for path in (place,) if starter.is_folder else contents:
        if path.exists() or path.is_symlink():
            raise _is_there(path)
    for path, data in contents.items():
        _write(path, data)
    sample = place / named(starter.sample)
    use = named(starter.use).replace("{sample}", str(sample))
    return Written(place if starter.is_folder else next(iter(contents)), tuple(contents), use)


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data)
        if data.startswith(b"#!"):
            path.chmod(path.stat().st_mode | 0o555)
    except FileExistsError:
        raise _is_there(path) from None
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}; choose another --dir"
        raise Refused(message) from None


def _is_there(path: Path) -> Refused:
    message = f"{path} exists already and is left as it is; choose another name or --dir"
    return Refused(message)
