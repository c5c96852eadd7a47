"""How what a tool takes comes in: as an image, as a file, or as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from migration.shape import Tool

IMAGE_NAMES = frozenset(
    {"image", "img", "frame", "image_bytes", "image_data", "img_bytes", "frame_bytes"}
)
BASE64_NAMES = frozenset({"image_base64", "image_b64", "frame_base64", "frame_b64", "img_base64"})
_FILES = frozenset(
    {"video_path", "source_video_path", "file_path", "input_path", "source_path", "image_path"}
)
_WRITTEN = frozenset({"output_path", "target_path", "target_video_path", "output_video_path"})


@dataclass(frozen=True, slots=True)
class Intake:
    """What kind of input a tool takes, and which of its arguments that is.

    ``is_text``: it takes the image as base64. ``written``: the argument that says where it shall
    write a file, "" for none.
    """

    kind: Literal["image", "files", "json"] = "json"
    argument: str = ""
    is_text: bool = False
    written: str = ""


def intake(tool: Tool) -> Intake:
    """Return how a tool's image or file comes in, if it takes one and needs nothing else."""
    names = list(tool.properties)
    needed = set(tool.required)
    files = [name for name in names if name in _FILES]
    written = [name for name in names if name in _WRITTEN]
    if len(files) == 1 and needed <= {*files, *written} and len(written) <= 1:
        return Intake("files", files[0], written=written[0] if written else "")
    images = [
        name
        for name in names
        if name in BASE64_NAMES or (name in IMAGE_NAMES and name in tool.forms)
    ]
    if len(images) == 1 and needed <= {*images}:
        [name] = images
        is_text = name in BASE64_NAMES or not tool.forms[name]
        return Intake("image", name, is_text)
    return Intake()
