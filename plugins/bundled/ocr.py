# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2.0", "pillow>=11.0", "rapidocr>=3.4", "onnxruntime>=1.20"]
# [tool.toolrunner]
# name = "ocr"
# version = "1.0.0"
# description = "Lines of printed text in an image, with confidence and position"
# input = "image"
# accepts = [
#     "image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff",
# ]
#
# [tool.toolrunner.limits]
# wall_seconds = 120
# load_seconds = 60
# cpu_seconds = 120
# memory_mb = 2048
# processes = 4
# payload_mb = 64
# ///
"""Read printed text (Latin and Chinese script) with RapidOCR on onnxruntime.

Option: ``min_confidence``, 0 to 1, default 0.5. Each line is ``{text, confidence, box}`` in
reading order; a box is four corners, clockwise from the upper left, in pixels of the upright
image, whose ``width`` and ``height`` are given. Transparency is put over white.

The models are those that the rapidocr wheel carries, named by path: without them loading fails,
and nothing is ever downloaded or written. One thread: a call's processor time is its wall time,
and a warm box can be forked. Images are brought to a size at which small print is legible and
time and memory have a bound; that, not the payload, is what the limits were measured for.
"""

from __future__ import annotations

import math
import os
import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

# From 1.29 on, onnxruntime reports to its maker unless this is set before it is loaded: a device
# id and a database in the home folder, look-ups of a host, and a thread, which forbids forking.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import cv2  # type: ignore[import-not-found, unused-ignore]  # optional
import rapidocr  # type: ignore[import-not-found, import-untyped, unused-ignore]  # optional

# Only what `accepts` names: Pillow's other readers (one starts Ghostscript) stay out of reach.
FORMATS = tuple(
    str(reader.format)
    for reader in (
        PngImageFile,
        JpegImageFile,
        WebPImageFile,
        GifImageFile,
        BmpImageFile,
        TiffImageFile,
    )
)
MAX_PIXELS = 50_000_000
# What Pillow's readers raise for damaged files; MemoryError is not among them on purpose.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    ArithmeticError,
    TypeError,
    AttributeError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
)
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Measured: finding lines takes memory and time in proportion to the pixels it looks at.
WORKING_PIXELS = 3_000_000
WORKING_LONG_SIDE = 4_000
# As RapidOCR itself would: small images are enlarged, because small letters are missed.
WORKING_SHORT_SIDE = 736
LEGIBLE_SHORT_SIDE = 12
DEFAULT_CONFIDENCE = 0.5


class InvalidInput(Exception):
    """The caller's payload is not what this plugin takes."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image at the size at which it is read, and its size when upright."""

    bgr: npt.NDArray[np.uint8]
    width: int
    height: int

    def original(self, x: float, y: float) -> list[int]:
        """Return where a point of the picture lies in the upright image."""
        height, width = self.bgr.shape[:2]
        return [round(x * self.width / width), round(y * self.height / height)]


class Plugin:
    """The engine with its three models, built once and used by every call."""

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        # Called as it is here, it returns its whole result; its type allows for parts of it.
        self._engine: Any = rapidocr.RapidOCR(params=_parameters())
        # RapidOCR reads its models at first use: do that now, on the clock for loading.
        self._engine(_page_of_text())

    def run(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return ``{"text", "lines", "width", "height"}`` for ``payload["image"]``."""
        least = _least_confidence(payload.get("options"))
        picture = _picture(payload["image"])
        lines = self._lines(picture, least)
        return {
            "text": "\n".join(line["text"] for line in lines),
            "lines": lines,
            "width": picture.width,
            "height": picture.height,
        }

    def _lines(self, picture: Picture, least: float) -> list[dict[str, Any]]:
        if min(picture.bgr.shape[:2]) < LEGIBLE_SHORT_SIDE:
            return []
        found = self._engine(picture.bgr, text_score=least)
        if found.boxes is None or found.txts is None or found.scores is None:
            return []
        return [
            {
                "text": str(text),
                "confidence": round(float(score), 4),
                "box": [picture.original(float(x), float(y)) for x, y in box],
            }
            for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
        ]


def _parameters() -> dict[str, Any]:
    """Own model files, one thread, silence, and no resizing beyond ours."""
    models = Path(rapidocr.__file__).parent / "models"
    return {
        "Global.log_level": "critical",
        # For drawing only, which is never done; left out, version 3.4 downloads a font.
        "Global.font_path": rapidocr.__file__,
        "Global.max_side_len": WORKING_LONG_SIDE,
        "Global.min_side_len": 1,
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        "Det.limit_type": "max",
        "Det.limit_side_len": WORKING_LONG_SIDE,
        "Det.model_path": _model(models, "det"),
        "Cls.model_path": _model(models, "cls"),
        "Rec.model_path": _model(models, "rec"),
        # Lines are padded to the longest of their batch. Measured on 31 lines of 4,000 pixels: six
        # at once take 1,970 MiB and 59 s, one at a time 910 MiB and 36 s.
        "Rec.rec_batch_num": 1,
    }


def _model(folder: Path, task: str) -> str:
    """Return the one model for a task; naming its file is what keeps RapidOCR from downloading."""
    found = sorted(folder.glob(f"*_{task}_*.onnx"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        msg = (
            f"expected one {task} model in {folder}, found {names}; "
            "reinstall it: pip install --force-reinstall rapidocr"
        )
        raise RuntimeError(msg)
    return str(found[0])


def _page_of_text() -> npt.NDArray[np.uint8]:
    page = np.full((64, 256, 3), 255, np.uint8)
    cv2.putText(page, "Ready", (30, 45), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 2)
    return page


def _least_confidence(options: object) -> float:
    if options is None:
        options = {}
    if not isinstance(options, dict):
        msg = "`options` must be an object with `min_confidence`, or left out"
        raise InvalidInput(msg)
    unknown = sorted(str(name) for name in options if name != "min_confidence")
    if unknown:
        msg = f"unknown option {unknown[0]!r}; allowed: min_confidence"
        raise InvalidInput(msg)
    least = options.get("min_confidence", DEFAULT_CONFIDENCE)
    if isinstance(least, bool) or not isinstance(least, int | float) or not 0 <= least <= 1:
        msg = "option `min_confidence` must be a number from 0 to 1"
        raise InvalidInput(msg)
    return float(least)


def _picture(data: bytes) -> Picture:
    """Decode and resize; the full-size image is let go before the reading starts."""
    image = _rgb(_upright_image(data))
    full = image.size
    scale = working_scale(*full)
    size = (max(1, round(full[0] * scale)), max(1, round(full[1] * scale)))
    if size != full:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return Picture(np.ascontiguousarray(np.asarray(image)[:, :, ::-1]), *full)


def working_scale(width: int, height: int) -> float:
    """Return the factor that brings an image to the size at which it is read."""
    short, long = sorted((width, height))
    return min(
        max(1.0, WORKING_SHORT_SIDE / short),
        WORKING_LONG_SIDE / long,
        math.sqrt(WORKING_PIXELS / (width * height)),
    )


def _upright_image(data: bytes) -> Image.Image:
    """Decode what is small enough, as people see it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # Pillow's remarks on odd EXIF and TIFF tags
        image = _open(data)
        try:
            image.load()
        except DAMAGE as error:
            msg = f"the image is truncated or damaged: {error}"
            raise InvalidInput(msg) from error
        turn = UPRIGHT.get(_orientation(image))
        return image.transpose(turn) if turn is not None else image


def _open(data: bytes) -> ImageFile.ImageFile:
    """Read the header alone, and refuse what would be too large to decode."""
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        msg = f"the image is too large: {error}"
        raise InvalidInput(msg) from error
    except UnidentifiedImageError as error:
        msg = f"not an image of a kind read here ({', '.join(FORMATS)}), or its header is damaged"
        raise InvalidInput(msg) from error
    except DAMAGE as error:
        msg = f"the image's header is damaged: {error}"
        raise InvalidInput(msg) from error
    if not image.width or not image.height:
        msg = f"the image has no pixels ({image.width} x {image.height})"
        raise InvalidInput(msg)
    if image.width * image.height > MAX_PIXELS:
        msg = (
            f"the image is too large: {image.width} x {image.height} pixels, "
            f"at most {MAX_PIXELS:,} pixels are decoded"
        )
        raise InvalidInput(msg)
    return image


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except DAMAGE:  # damaged EXIF does not spoil the pixels
        return 1
    return value if isinstance(value, int) else 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in {"I", "F"}:
        msg = f"unsupported mode {image.mode}: convert the image to 8 or 16 bits a channel"
        raise InvalidInput(msg)
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint16)
        image = Image.fromarray((deep >> 8).astype(np.uint8))
    try:
        if not image.has_transparency_data:
            return image.convert("RGB")
        ink = image.convert("RGBA")
    except ValueError as error:
        msg = f"unsupported mode {image.mode}: {error}"
        raise InvalidInput(msg) from error
    paper = Image.new("RGB", ink.size, "white")
    paper.paste(ink, mask=ink.getchannel("A"))
    return paper
