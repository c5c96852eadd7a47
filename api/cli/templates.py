"""The plugin that ``toolrunner plugins new`` writes: small, commented, and of some use at once.

Called by ``commands``. Each template is a whole plugin in one file with the standard library alone.
"""

from __future__ import annotations

from pathlib import Path

from toolrunner.api.cli.exits import Refused
from toolrunner.plugins import fields

_IMAGE = '''\
# /// script
# requires-python = ">=3.11"
# dependencies = []                 # such as ["pillow>=11"]; then: toolrunner plugins install
# [tool.toolrunner]
# name = "{name}"
# version = "0.1.0"
# description = "Size and colours of a PNG file, and whether it is whole"
# input = "image"                   # payload["image"] are the bytes of one
# accepts = ["image/png"]
# limits = {{ wall_seconds = 10, cpu_seconds = 10, memory_mb = 256 }}
# ///
"""Read the structure of a PNG file and check the sum of every chunk in it."""

import struct
import zlib

SIGNATURE = b"\\x89PNG\\r\\n\\x1a\\n"
COLOURS = {{0: "grey", 2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGB and alpha"}}
HEADER = struct.Struct(">II5B")  # of the chunk IHDR: width, height, depth, colours, ...


class InvalidInput(Exception):
    """Raise it for input that you cannot take: then the caller is told so, not that you failed."""


def run(payload: dict, context) -> dict:
    """Called once, in a process of its own. What it returns has to be a JSON object."""
    image = payload["image"]
    options = payload.get("options", {{}})  # what the caller gave with --option KEY=VALUE
    if not image.startswith(SIGNATURE):
        raise InvalidInput("this is not a PNG file")
    chunks = []
    position = len(SIGNATURE)
    while position < len(image):
        kind, data = read_chunk(image, position)
        chunks.append({{"kind": kind, "bytes": len(data)}})
        if kind == "IHDR":
            header = HEADER.unpack_from(data.ljust(HEADER.size, b"\\0"))
        position += 12 + len(data)
        # Progress is shown to whoever waits; `context` also has scratch, config, seconds_left().
        context.progress(position / len(image), f"read {{kind}}")
    if not chunks or chunks[0]["kind"] != "IHDR":
        raise InvalidInput("the PNG file has no header")
    width, height, depth, colours, *_ = header
    result = {{
        "width": width,
        "height": height,
        "bits_per_channel": depth,
        "colours": COLOURS.get(colours, "unknown"),
        "complete": chunks[-1]["kind"] == "IEND",
    }}
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
    if zlib.crc32(image[position + 4 : end]) != int.from_bytes(image[end : end + 4], "big"):
        raise InvalidInput(f"the PNG file is damaged at byte {{position}}")
    return kind.decode("ascii", "replace"), image[position + 8 : end]
'''

_JSON = '''\
# /// script
# requires-python = ">=3.11"
# dependencies = []                 # such as ["numpy>=2"]; then: toolrunner plugins install
# [tool.toolrunner]
# name = "{name}"
# version = "0.1.0"
# description = "Mean, median and spread of numbers, and which of them stand out"
# input = "json"                    # the payload is any JSON object that fits the schema
# limits = {{ wall_seconds = 10, cpu_seconds = 10, memory_mb = 256 }}
#
# [tool.toolrunner.input_schema]    # JSON Schema; what does not fit never reaches run()
# type = "object"
# required = ["numbers"]
# examples = [{{ numbers = [3, 4, 4, 5, 40] }}]
#
# [tool.toolrunner.input_schema.properties.numbers]
# type = "array"
# items = {{ type = "number" }}
# ///
"""Describe a list of numbers."""

import statistics

FAR = 1.5  # in spreads between the quartiles, as Tukey proposed


class InvalidInput(Exception):
    """Raise it for input that you cannot take: then the caller is told so, not that you failed."""


def run(payload: dict, context) -> dict:
    """Called once, in a process of its own. What it returns has to be a JSON object."""
    numbers = payload["numbers"]
    if len(numbers) < 2:
        raise InvalidInput("give at least two numbers")
    # Progress is shown to whoever waits; `context` also has scratch, config, seconds_left().
    context.progress(0.5, f"looking at {{len(numbers)}} numbers")
    first, median, third = statistics.quantiles(numbers, n=4, method="inclusive")
    reach = FAR * (third - first)
    return {{
        "count": len(numbers),
        "mean": statistics.fmean(numbers),
        "median": median,
        "deviation": statistics.stdev(numbers),
        "outliers": [n for n in numbers if not first - reach <= n <= third + reach],
    }}
'''


def write_template(name: str, folder: str, *, json_input: bool) -> Path:
    """Write a new plugin's file and return its path; nothing is ever overwritten."""
    try:
        fields.name(name)
    except ValueError as error:
        message = f"the name {name[:80]!r} {error}"
        raise Refused(message) from None
    path = Path(folder) / f"{name.replace('-', '_')}.py"
    source = (_JSON if json_input else _IMAGE).format(name=name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(source)
    except FileExistsError:
        message = f"{path} exists already and is left as it is; choose another name or --dir"
        raise Refused(message) from None
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}; choose another --dir"
        raise Refused(message) from None
    return path
