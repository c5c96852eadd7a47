"""A plugin that is given an image, with the standard library alone."""

PLUGIN = '''\
# /// script
# requires-python = ">=3.11"
# dependencies = [] # such as ["pillow>=11"], by toolrunner plugins install my_plugin.py
# [tool.toolrunner]
# name = "my-plugin"
# version = "0.1.0"
# description = "Size and colours of a PNG file, and whether it is whole"
# input = "image"     # payload["image"] are the bytes of one
# accepts = ["image/png"]
# limits = { wall_seconds = 10, cpu_seconds = 10, memory_mb = 256 }
# ///
"""Read the structure of a PNG file and check the sum of every chunk in it."""

import struct
import zlib
from typing import Any, Protocol

SIGNATURE = b"\\x89PNG\\r\\n\\x1a\\n"
COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGB and alpha"}
HEADER = struct.Struct(">II5B")  # of the chunk IHDR: width, height, depth, colours, ...


class Context(Protocol):
    """What `run` may ask for; also scratch, config, seconds_left(), artifact()."""

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell whoever waits how far the work has come."""


class InvalidInput(Exception):
    """Raise it for input that you cannot take: its name tells the caller so."""


def warm_up() -> None:
    """Called once, when the plugin is loaded: what no call has to do again."""
    zlib.crc32(HEADER.pack(1, 1, 8, 2, 0, 0, 0))


def run(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Called once, in a process of its own. What it returns has to be a JSON object."""
    image: bytes = payload["image"]
    options = payload.get("options", {})  # what the caller gave with --option KEY=VALUE
    if not image.startswith(SIGNATURE):
        raise InvalidInput("this is not a PNG file")
    chunks: list[dict[str, Any]] = []
    header = bytes(HEADER.size)
    position = len(SIGNATURE)
    while position < len(image):
        kind, data = read_chunk(image, position)
        chunks.append({"kind": kind, "bytes": len(data)})
        if kind == "IHDR":
            header = data.ljust(HEADER.size, b"\\0")
        position += 12 + len(data)
        context.progress(position / len(image), f"read {kind}")
    if not chunks or chunks[0]["kind"] != "IHDR":
        raise InvalidInput("the PNG file has no header")
    width, height, depth, colours, *_ = HEADER.unpack_from(header)
    result = {
        "width": width,
        "height": height,
        "bits_per_channel": depth,
        "colours": COLOURS.get(colours, "unknown"),
        "complete": chunks[-1]["kind"] == "IEND",
    }
    if options.get("chunks", True):
        result["chunks"] = chunks
    return result


def read_chunk(image: bytes, position: int) -> tuple[str, bytes]:
    """Return the kind and the data of the chunk that begins at a position."""
    length = int.from_bytes(image[position : position + 4], "big")
    kind = image[position + 4 : position + 8]
    end = position + 8 + length
    if len(image) < end + 4:
        raise InvalidInput("the PNG file is cut off")
    written = int.from_bytes(image[end : end + 4], "big")
    if zlib.crc32(image[position + 4 : end]) != written:
        raise InvalidInput(f"the PNG file is damaged at byte {position}")
    return kind.decode("ascii", "replace"), image[position + 8 : end]
'''

TEST = '''\
"""Tests of my-plugin, in the real sandbox: pip install pytest, then pytest."""

from pathlib import Path

from toolrunner.pytest_plugin import Governed

HERE = Path(__file__).parent
PLUGIN = HERE / "my_plugin.py"
SAMPLE = HERE / "my_plugin_sample.png"


def test_it_reads_the_sample(governed: Governed) -> None:
    """The outcome of a call has result, error, usage, log and artifacts."""
    result = governed(PLUGIN, {"image": SAMPLE}).unwrap()
    assert (result["width"], result["height"], result["complete"]) == (32, 16, True)


def test_it_refuses_what_is_cut_off(governed: Governed) -> None:
    """Bad input is the caller's fault, and told as such."""
    image = SAMPLE.read_bytes()[:-10]
    outcome = governed(PLUGIN, {"image": image, "mime_type": "image/png"})
    assert outcome.error_type == "ValidationError"
'''

FILES = {"my_plugin.py": PLUGIN, "test_my_plugin.py": TEST}
