# /// script
# requires-python = ">=3.11"
# dependencies = ["pillow>=11.0", "zxing-cpp>=3.0"]
# [tool.toolrunner]
# name = "barcode"
# version = "1.0.0"
# description = "Every barcode of an image: kind, text, bytes, corners"
# input = "image"
# accepts = [
#     "image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff",
# ]
# limits = { wall_seconds = 20, cpu_seconds = 20, memory_mb = 1024, processes = 4, payload_mb = 64 }
# ///
"""Read every linear and two-dimensional barcode in an image with zxing-cpp.

Options: ``formats`` (names such as "QRCode" or "EAN13"; default: all), ``try_harder`` (default
true: also turned, small, inverted and badly lit codes, at several times the cost when there is
nothing to find), ``ean_add_on`` ("ignore", "read" or "require" the 2 or 5 digits beside an EAN).

Coordinates are pixels of the upright image, whose ``width`` and ``height`` are given. ``corners``
run clockwise from the code's own top left. ``bytes`` (base64) accompanies what is not plain text.
Transparency is put over white, then over black. Never follows what a code says.
"""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import zxingcpp
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

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
# Below this, a code that was not found may have modules of hardly more than a pixel.
ENLARGED_BELOW_PIXELS = 1_000_000
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
ADD_ONS = {
    "ignore": zxingcpp.EanAddOnSymbol.Ignore,
    "read": zxingcpp.EanAddOnSymbol.Read,
    "require": zxingcpp.EanAddOnSymbol.Require,
}
OPTIONS = ("formats", "try_harder", "ean_add_on")


class InvalidInput(Exception):
    """The caller's payload is not what this plugin takes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the caller asked for, checked."""

    formats: zxingcpp.BarcodeFormats
    try_harder: bool
    add_on: zxingcpp.EanAddOnSymbol


def run(payload: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"count", "width", "height", "barcodes"}`` for ``payload["image"]``."""
    wanted = _wanted(payload.get("options"))
    layers = _grey_layers(_upright_image(payload["image"]))
    barcodes: list[dict[str, Any]] = []
    for layer in layers:
        barcodes = _read(layer, wanted)
        if barcodes:
            break
    return {
        "count": len(barcodes),
        "width": layers[0].width,
        "height": layers[0].height,
        "barcodes": barcodes,
    }


def _wanted(options: object) -> Wanted:
    if options is None:
        options = {}
    if not isinstance(options, dict):
        msg = f"`options` must be an object with any of {', '.join(OPTIONS)}"
        raise InvalidInput(msg)
    unknown = sorted(str(name) for name in options if name not in OPTIONS)
    if unknown:
        msg = f"unknown option {unknown[0]!r}; allowed: {', '.join(OPTIONS)}"
        raise InvalidInput(msg)
    try_harder = options.get("try_harder", True)
    if not isinstance(try_harder, bool):
        msg = "option `try_harder` must be true or false"
        raise InvalidInput(msg)
    add_on = options.get("ean_add_on", "ignore")
    if not isinstance(add_on, str) or add_on not in ADD_ONS:
        msg = f"option `ean_add_on` must be one of {', '.join(ADD_ONS)}"
        raise InvalidInput(msg)
    return Wanted(_formats(options.get("formats")), try_harder, ADD_ONS[add_on])


def _formats(names: object) -> zxingcpp.BarcodeFormats:
    readable = zxingcpp.barcode_formats_list(
        zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.AllReadable)
    )
    by_name = {item.name.casefold(): item for item in readable}
    allowed = ", ".join(sorted(item.name for item in readable))
    if names is None:
        return readable
    if not isinstance(names, list) or not names:
        msg = f"option `formats` must be a list with at least one of: {allowed}"
        raise InvalidInput(msg)
    chosen = []
    for name in names:
        plain = (
            name.casefold().translate(str.maketrans("", "", "-_ ")) if isinstance(name, str) else ""
        )
        if plain not in by_name:
            msg = f"option `formats`: unknown format {str(name)[:40]!r}; allowed: {allowed}"
            raise InvalidInput(msg)
        chosen.append(by_name[plain])
    return zxingcpp.BarcodeFormats(chosen)


def _upright_image(data: bytes) -> Image.Image:
    """Decode what is small enough, as people see it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # Pillow's remarks on odd EXIF and TIFF tags
        image = _open(data)
        try:
            image.draft("L", image.size)  # JPEG: no colour needed, a third of the memory
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


def _grey_layers(image: Image.Image) -> list[Image.Image]:
    """8-bit grey; transparent images over white and over black, as a code may be either colour."""
    if image.mode[0] in "IF":
        return [_stretched(image)]
    try:
        if image.mode == "LAB":
            image = image.convert("RGB")  # Pillow goes to grey by this way alone
        if not image.has_transparency_data:
            return [image.convert("L")]
        if image.mode not in {"LA", "RGBA"}:
            image = image.convert("RGBA")
        ink, alpha = image.convert("L"), image.getchannel("A")
    except ValueError as error:
        msg = f"unsupported mode {image.mode}: {error}"
        raise InvalidInput(msg) from error
    layers = []
    for paper in (255, 0):
        layer = Image.new("L", ink.size, paper)
        layer.paste(ink, mask=alpha)
        layers.append(layer)
    return layers


def _stretched(image: Image.Image) -> Image.Image:
    """Deep grey, of whatever range, between its extremes."""
    values = image.convert("F")
    extrema = values.getextrema()
    low, high = (float(value) for value in extrema if not isinstance(value, tuple))
    if not (math.isfinite(low) and math.isfinite(high)):
        msg = f"unsupported mode {image.mode}: its values are not all finite numbers"
        raise InvalidInput(msg)
    scale = 255.0 / (high - low) if high > low else 0.0
    return values.point(lambda value: value * scale - low * scale).convert("L")


def _read(grey: Image.Image, wanted: Wanted) -> list[dict[str, Any]]:
    found = _scan(grey, wanted, zxingcpp.Binarizer.LocalAverage)
    if found or not wanted.try_harder:
        return [_described(barcode, 1) for barcode in found]
    found = _scan(grey, wanted, zxingcpp.Binarizer.GlobalHistogram)
    if found or grey.width * grey.height > ENLARGED_BELOW_PIXELS:
        return [_described(barcode, 1) for barcode in found]
    twice = grey.resize((2 * grey.width, 2 * grey.height), Image.Resampling.BICUBIC)
    found = _scan(twice, wanted, zxingcpp.Binarizer.LocalAverage)
    return [_described(barcode, 2) for barcode in found]


def _scan(
    grey: Image.Image, wanted: Wanted, binarizer: zxingcpp.Binarizer
) -> list[zxingcpp.Barcode]:
    return zxingcpp.read_barcodes(
        grey,
        formats=wanted.formats,
        try_rotate=wanted.try_harder,
        try_downscale=wanted.try_harder,
        try_invert=wanted.try_harder,
        binarizer=binarizer,
        ean_add_on_symbol=wanted.add_on,
    )


def _described(barcode: zxingcpp.Barcode, scale: int) -> dict[str, Any]:
    position = barcode.position
    corners = (
        position.top_left,
        position.top_right,
        position.bottom_right,
        position.bottom_left,
    )
    is_text = barcode.content_type is zxingcpp.ContentType.Text
    return {
        "format": barcode.format.name,
        "text": barcode.text,
        "bytes": None if is_text else barcode.bytes,
        "content_type": barcode.content_type.name,
        "corners": [[round(point.x / scale), round(point.y / scale)] for point in corners],
        "orientation": barcode.orientation,
        "symbology_identifier": barcode.symbology_identifier,
        "error_correction": barcode.ec_level or None,
    }
