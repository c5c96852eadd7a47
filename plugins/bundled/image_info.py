# /// script
# requires-python = ">=3.11"
# dependencies = ["pillow>=11.0"]
# [tool.toolrunner]
# name = "image-info"
# version = "1.0.0"
# description = "Format, size, EXIF with GPS, colour profile and perceptual hashes of an image"
# input = "image"
# accepts = [
#     "image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff",
# ]
# limits = { wall_seconds = 20, cpu_seconds = 20, memory_mb = 1024, processes = 4, payload_mb = 64 }
# ///
"""Describe an image: container, pixels, EXIF (GPS in decimal degrees), ICC profile, hashes.

Takes no options. Everything of the first frame; ``width`` and ``height`` are as stored, while
``displayed`` and the hashes are of the image as people see it (EXIF orientation applied,
transparency over white). Never trusts what a header claims: the size is checked before decoding.

``phash``: grey, 32x32 by Lanczos, DCT-II, the 8x8 lowest frequencies against their median, row by
row, 64 bits. ``dhash``: grey, 9x8, each pixel against its right neighbour. Both are written as 16
hex digits, most significant bit first, and equal those of the ImageHash library. Compare two by
the number of differing bits: up to about 10 of 64 means "the same picture".
"""

from __future__ import annotations

import math
import statistics
import struct
import warnings
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    Warning,
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
ORIENTATIONS = {
    1: "upright",
    2: "mirrored left to right",
    3: "rotated by 180 degrees",
    4: "mirrored top to bottom",
    5: "mirrored along the main diagonal",
    6: "needs a turn of 90 degrees clockwise",
    7: "mirrored along the other diagonal",
    8: "needs a turn of 90 degrees counter-clockwise",
}
BITS_OF_MODE = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16, "I": 32, "F": 32}
MAX_TEXT = 500
MAX_BYTES_SHOWN = 16
MAX_ITEMS = 64
MAX_TAGS = 300


class InvalidInput(Exception):
    """The caller's payload is not what this plugin takes."""


def run(payload: dict[str, Any]) -> dict[str, Any]:
    """Return the description of ``payload["image"]``."""
    if payload.get("options"):
        msg = "image-info takes no options; leave `options` out"
        raise InvalidInput(msg)
    data = payload["image"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # Pillow's remarks on odd EXIF and TIFF tags
        image = _open(data)
        info = _container(image, data)
        exif = _exif(image)
        info |= {"frames": _frames(image), "icc_profile": _icc_profile(image)}
        grey = _grey(_decoded(image))
    orientation = exif.pop("orientation")
    if orientation in UPRIGHT:
        grey = grey.transpose(UPRIGHT[orientation])
    return {
        **info,
        "displayed": {"width": grey.width, "height": grey.height},
        "orientation": {"value": orientation, "meaning": ORIENTATIONS[orientation]},
        **exif,
        "phash": phash(grey),
        "dhash": dhash(grey),
    }


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


def _decoded(image: Image.Image) -> Image.Image:
    try:
        image.seek(0)
        image.load()
    except DAMAGE as error:
        msg = f"the image is truncated or damaged: {error}"
        raise InvalidInput(msg) from error
    return image


def _container(image: ImageFile.ImageFile, data: bytes) -> dict[str, Any]:
    dpi = image.info.get("dpi")
    return {
        "format": image.format,
        "mime_type": image.get_format_mimetype(),
        "bytes": len(data),
        "width": image.width,
        "height": image.height,
        "mode": image.mode,
        "bands": list(image.getbands()),
        "bits_per_channel": _bits_per_channel(image, data),
        "has_alpha": image.has_transparency_data,
        "dpi": [_number(value) for value in dpi] if isinstance(dpi, tuple) else None,
    }


def _bits_per_channel(image: Image.Image, data: bytes) -> int:
    """As stored in the file: Pillow itself reduces 16-bit colour to 8."""
    if image.format == "PNG" and data[12:16] == b"IHDR":
        return data[24]
    if isinstance(image, TiffImageFile):
        stored = image.tag_v2.get(258)
        if isinstance(stored, tuple) and stored and isinstance(stored[0], int):
            return stored[0]
    return BITS_OF_MODE.get(image.mode, 8)


def _frames(image: Image.Image) -> dict[str, Any]:
    try:
        count = int(getattr(image, "n_frames", 1))
        image.seek(0)
    except DAMAGE as error:
        msg = f"the image is truncated or damaged: {error}"
        raise InvalidInput(msg) from error
    return {
        "count": count,
        # Further pages of a TIFF and pictures of an MPO are not an animation.
        "animated": count > 1 and image.format in {"GIF", "PNG", "WEBP"},
        "loop": image.info.get("loop"),
    }


def _icc_profile(image: Image.Image) -> dict[str, Any] | None:
    raw = image.info.get("icc_profile")
    if not raw:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(raw)).profile
        description, space = profile.profile_description, profile.xcolor_space.strip()
    except DAMAGE:  # an unreadable profile is a fact about the image, not a reason to refuse it
        description, space = None, None
    return {
        "description": _text(description or "") or None,
        "colour_space": space,
        "bytes": len(raw),
    }


def _exif(image: Image.Image) -> dict[str, Any]:
    """Return ``exif``, ``gps`` and ``orientation``; damaged EXIF gives ``exif_error``."""
    found: dict[str, Any] = {"exif": {}, "gps": None, "orientation": 1}
    try:
        exif = image.getexif()
        found["exif"] = _named(exif, ExifTags.TAGS)
        found["exif"] |= _named(exif.get_ifd(ExifTags.IFD.Exif), ExifTags.TAGS)
        orientation = exif.get(ExifTags.Base.Orientation)
        found["orientation"] = orientation if orientation in ORIENTATIONS else 1
        gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
        found["gps"] = _gps(gps) if gps else None
    except DAMAGE as error:
        found["exif_error"] = _text(f"{type(error).__name__}: {error}")
    return found


def _named(tags: Any, names: dict[int, str]) -> dict[str, Any]:  # noqa: ANN401  two mapping types
    pointers = {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop}
    wanted = [(tag, value) for tag, value in tags.items() if tag not in pointers]
    return {names.get(tag, f"Tag0x{tag:04x}"): _plain(value) for tag, value in wanted[:MAX_TAGS]}


def _plain(value: object) -> Any:  # noqa: ANN401  any JSON value
    """Turn one EXIF value into JSON of bounded size."""
    if isinstance(value, bytes):
        return value[0] if len(value) == 1 else _shortened(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool | int | None):
        return value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value[:MAX_ITEMS]]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in list(value.items())[:MAX_ITEMS]}
    return _number(value)


def _shortened(value: bytes) -> str:
    """Text as it is, anything else as its first bytes in hex."""
    head = value[:8]
    if head in {b"ASCII\0\0\0", b"\0" * 8}:  # UserComment's own prefix
        value = value[8:]
    stripped = value.strip(b"\0 ")
    if len(stripped) <= MAX_TEXT and stripped.isascii() and stripped.decode("ascii").isprintable():
        return stripped.decode("ascii")
    more = "..." if len(value) > MAX_BYTES_SHOWN else ""
    return f"<{len(value)} bytes: {value[:MAX_BYTES_SHOWN].hex()}{more}>"


def _text(value: str) -> str:
    clean = value.replace("\0", " ").strip().encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= MAX_TEXT else clean[:MAX_TEXT] + "..."


def _number(value: Any) -> float | None:  # noqa: ANN401  Pillow's rational, whose 0/0 is NaN
    try:
        number = float(value)
    except (ArithmeticError, ValueError, TypeError):
        return None
    return round(number, 9) if math.isfinite(number) else None


def _gps(tags: dict[int, Any]) -> dict[str, Any]:
    latitude = _degrees(tags.get(ExifTags.GPS.GPSLatitude), 90.0)
    longitude = _degrees(tags.get(ExifTags.GPS.GPSLongitude), 180.0)
    if latitude is not None and _letter(tags.get(ExifTags.GPS.GPSLatitudeRef)) == "S":
        latitude = -latitude
    if longitude is not None and _letter(tags.get(ExifTags.GPS.GPSLongitudeRef)) == "W":
        longitude = -longitude
    altitude = _number(tags.get(ExifTags.GPS.GPSAltitude))
    below_sea = tags.get(ExifTags.GPS.GPSAltitudeRef) in (1, b"\1")
    return {
        "latitude": latitude,
        "longitude": longitude,
        "altitude_m": -altitude if altitude is not None and below_sea else altitude,
        "tags": _named(tags, ExifTags.GPSTAGS),
    }


def _letter(value: object) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
    return text.strip("\0 ").upper()[:1]


def _degrees(parts: object, most: float) -> float | None:
    """Degrees, minutes, seconds -> decimal degrees; ``None`` for what cannot be on a globe."""
    if not isinstance(parts, tuple | list) or not parts:
        return None
    numbers = [_number(part) for part in parts[:3]]
    total = 0.0
    for number, unit in zip(numbers, (1.0, 60.0, 3600.0), strict=False):
        if number is None:
            return None
        total += number / unit
    return round(total, 7) if 0.0 <= total <= most else None


def _grey(image: Image.Image) -> Image.Image:
    """8-bit grey, transparency over white; deep grey is stretched between its extremes."""
    if image.mode[0] in "IF":
        return _stretched(image)
    try:
        if image.mode == "LAB":
            image = image.convert("RGB")  # Pillow goes to grey by this way alone
        if not image.has_transparency_data:
            return image.convert("L")
        if image.mode not in {"LA", "RGBA"}:
            image = image.convert("RGBA")
        grey = Image.new("L", image.size, 255)
        grey.paste(image.convert("L"), mask=image.getchannel("A"))
    except ValueError as error:
        msg = f"unsupported mode {image.mode}: {error}"
        raise InvalidInput(msg) from error
    return grey


def _stretched(image: Image.Image) -> Image.Image:
    values = image.convert("F")
    extrema = values.getextrema()
    low, high = (float(value) for value in extrema if not isinstance(value, tuple))
    if not (math.isfinite(low) and math.isfinite(high)):
        msg = f"unsupported mode {image.mode}: its values are not all finite numbers"
        raise InvalidInput(msg)
    scale = 255.0 / (high - low) if high > low else 0.0
    return values.point(lambda value: value * scale - low * scale).convert("L")


def phash(grey: Image.Image) -> str:
    """Return the perceptual hash of an 8-bit grey image (the module's docstring defines it)."""
    side, kept = 32, 8
    pixels = grey.resize((side, side), Image.Resampling.LANCZOS).tobytes()
    waves = [
        [math.cos(math.pi * k * (2 * n + 1) / (2 * side)) for n in range(side)] for k in range(kept)
    ]
    rows = [[_dot(wave, pixels[y * side : (y + 1) * side]) for wave in waves] for y in range(side)]
    # Rounded, so that a flat image has coefficients of exactly nought and not of noise.
    low = [
        round(_dot(waves[v], [row[u] for row in rows]), 6) for v in range(kept) for u in range(kept)
    ]
    median = statistics.median(low)
    return _hex(value > median for value in low)


def dhash(grey: Image.Image) -> str:
    """Return the difference hash of an 8-bit grey image (the module's docstring defines it)."""
    pixels = grey.resize((9, 8), Image.Resampling.LANCZOS).tobytes()
    return _hex(pixels[9 * y + x + 1] > pixels[9 * y + x] for y in range(8) for x in range(8))


def _dot(wave: list[float], values: bytes | list[float]) -> float:
    return math.fsum(weight * value for weight, value in zip(wave, values, strict=True))


def _hex(bits: Iterable[bool]) -> str:
    return f"{int(''.join('01'[bit] for bit in bits), 2):016x}"
