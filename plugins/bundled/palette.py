# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2.0", "pillow>=11.0"]
# [tool.toolrunner]
# name = "palette"
# version = "1.0.0"
# description = "Dominant colours of an image, as people see them, with their shares"
# input = "image"
# accepts = [
#     "image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff",
# ]
# limits = { wall_seconds = 20, cpu_seconds = 20, memory_mb = 1024, processes = 4, payload_mb = 64 }
# ///
"""Find the dominant colours of an image: weighted k-means in CIE L*a*b* (D65), k-means++ seeds.

Option: ``colours``, 1 to 16, default 5. Each is ``{hex, rgb, share}``, largest share first; fewer
come back when the image has fewer distinct colours, which are then exact. A pixel counts by its
opacity. The same image always gives the same answer: the random seeds are fixed.

Up to 262,144 pixels all are counted, above that as many drawn at random; above 4 megapixels
neighbouring pixels are averaged first.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

Floats = npt.NDArray[np.float64]

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
DEFAULT_COLOURS = 5
MAX_COLOURS = 16
COUNTED_PIXELS = 262_144
GATHERED_ABOVE_COLOURS = 4_096
AVERAGED_ABOVE_PIXELS = 4_000_000
RESTARTS = 4
MAX_ROUNDS = 60
SEED = 20_260_101
# Where sRGB's transfer curve turns from a line to a power, as encoded and as linear light.
CURVE_ENCODED, CURVE_LINEAR = 0.04045, 0.0031308
# sRGB (IEC 61966-2-1) to XYZ under D65, and that white itself.
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE = TO_XYZ.sum(axis=1)


class InvalidInput(Exception):
    """The caller's payload is not what this plugin takes."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """Centres in L*a*b*, the weight of each, and how far the colours lie from them."""

    centres: Floats
    weights: Floats
    spread: float


def run(payload: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"colours": [{"hex", "rgb", "share"}], "distinct_colours"}``."""
    wanted = _wanted(payload.get("options"))
    rgb, weights = _weighted_colours(_pixels(_image(payload["image"])))
    if len(rgb) <= wanted:
        found, shares = rgb, weights
    else:
        clusters = cluster(*_gathered(rgb, weights), wanted)
        found, shares = to_rgb(clusters.centres), clusters.weights
    order = np.argsort(-shares, kind="stable")
    total = float(shares.sum())
    return {
        "colours": [_described(found[i], float(shares[i]) / total) for i in order if shares[i] > 0],
        "distinct_colours": len(rgb),
    }


def _described(rgb: npt.NDArray[np.uint8], share: float) -> dict[str, Any]:
    red, green, blue = (int(value) for value in rgb)
    return {
        "hex": f"#{red:02x}{green:02x}{blue:02x}",
        "rgb": [red, green, blue],
        "share": round(share, 4),
    }


def _wanted(options: object) -> int:
    if options is None:
        options = {}
    if not isinstance(options, dict):
        msg = "`options` must be an object with `colours`, or left out"
        raise InvalidInput(msg)
    unknown = sorted(str(name) for name in options if name != "colours")
    if unknown:
        msg = f"unknown option {unknown[0]!r}; allowed: colours"
        raise InvalidInput(msg)
    wanted = options.get("colours", DEFAULT_COLOURS)
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 1 <= wanted <= MAX_COLOURS:
        msg = f"option `colours` must be a whole number from 1 to {MAX_COLOURS}"
        raise InvalidInput(msg)
    return wanted


def _image(data: bytes) -> Image.Image:
    """Decode what is small enough; how it is turned does not matter to its colours."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # Pillow's remarks on odd EXIF and TIFF tags
        image = _open(data)
        try:
            if image.width * image.height > AVERAGED_ABOVE_PIXELS:
                # JPEG alone can average while decoding, down to an eighth; others ignore this.
                image.draft("RGB", (image.width // 2, image.height // 2))
            image.load()
        except DAMAGE as error:
            msg = f"the image is truncated or damaged: {error}"
            raise InvalidInput(msg) from error
        return image


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


def _pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return the pixels as rows of R, G, B, opacity."""
    if image.mode in {"I", "F"}:
        msg = f"unsupported mode {image.mode}: convert the image to 8 or 16 bits a channel"
        raise InvalidInput(msg)
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint16)
        image = Image.fromarray((deep >> 8).astype(np.uint8))
    try:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    except ValueError as error:
        msg = f"unsupported mode {image.mode}: {error}"
        raise InvalidInput(msg) from error
    area = image.width * image.height
    if area > AVERAGED_ABOVE_PIXELS:
        image = image.reduce(int(np.ceil(np.sqrt(area / AVERAGED_ABOVE_PIXELS))))
    values = np.asarray(image).reshape(-1, len(image.getbands()))
    if len(values) > COUNTED_PIXELS:
        # At random, because every n-th pixel would mistake a regular pattern for one colour.
        drawn = np.random.default_rng(SEED).integers(0, len(values), COUNTED_PIXELS)
        values = values[drawn]
    if values.shape[1] == 4:  # noqa: PLR2004  RGBA
        return values
    return np.column_stack((values, np.full(len(values), 255, np.uint8)))


def _weighted_colours(pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], Floats]:
    """Return the distinct colours with the summed opacity of each."""
    packed = pixels[:, :3].astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    keys, where = np.unique(packed, return_inverse=True)
    weights = _summed(where, pixels[:, 3] / 255.0, len(keys))
    keys, weights = keys[weights > 0], weights[weights > 0]
    if not len(keys):
        msg = "every pixel of the image is transparent: it has no colours"
        raise InvalidInput(msg)
    rgb = np.column_stack([(keys >> shift) & 255 for shift in (16, 8, 0)]).astype(np.uint8)
    return rgb, weights


def _summed(owner: npt.NDArray[np.int64], values: Floats, count: int) -> Floats:
    """Return the sum of the values of each owner."""
    return np.bincount(owner, weights=values, minlength=count).astype(np.float64)


def _gathered(rgb: npt.NDArray[np.uint8], weights: Floats) -> tuple[Floats, Floats]:
    """Return L*a*b* points and weights; of a photograph, the means of the cells of a 32^3 grid."""
    points = to_lab(rgb)
    if len(points) <= GATHERED_ABOVE_COLOURS:
        return points, weights
    cells, owner = np.unique(
        (rgb >> 3).astype(np.uint32) @ np.array([1024, 32, 1], np.uint32), return_inverse=True
    )
    held = _summed(owner, weights, len(cells))
    sums = [_summed(owner, weights * axis, len(cells)) for axis in points.T]
    return np.column_stack(sums) / held[:, None], held


def to_lab(rgb: npt.NDArray[np.uint8]) -> Floats:
    """Convert rows of 8-bit sRGB to L*a*b*, where equal distances look about equally different."""
    encoded = rgb / 255.0
    linear = np.where(encoded <= CURVE_ENCODED, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    ratio = linear @ TO_XYZ.T / WHITE
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f.T
    return np.column_stack((116 * y - 16, 500 * (x - y), 200 * (y - z)))


def to_rgb(lab: Floats) -> npt.NDArray[np.uint8]:
    """Convert rows of L*a*b* to 8-bit sRGB; what lies outside of sRGB is clipped."""
    y = (lab[:, 0] + 16) / 116
    f = np.column_stack((y + lab[:, 1] / 500, y, y - lab[:, 2] / 200))
    ratio = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = np.clip((ratio * WHITE) @ np.linalg.inv(TO_XYZ).T, 0.0, 1.0)
    encoded = np.where(linear <= CURVE_LINEAR, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    rgb: npt.NDArray[np.uint8] = np.rint(encoded * 255).astype(np.uint8)
    return rgb


def cluster(points: Floats, weights: Floats, count: int) -> Clusters:
    """Return the tightest of a few k-means runs."""
    rng = np.random.default_rng(SEED)
    runs = [_lloyd(points, weights, _seeds(points, weights, count, rng)) for _ in range(RESTARTS)]
    return min(runs, key=lambda found: found.spread)


def _distances(points: Floats, centres: Floats) -> Floats:
    """Return squared distances, points by centres; a rounding below nought becomes nought."""
    squares = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)
    distances: Floats = np.maximum(squares - 2 * points @ centres.T, 0.0)
    return distances


def _seeds(points: Floats, weights: Floats, count: int, rng: np.random.Generator) -> Floats:
    """k-means++: each next seed is likelier the farther it lies from those before it."""
    chosen = [int(rng.choice(len(points), p=weights / weights.sum()))]
    nearest = _distances(points, points[chosen]).min(axis=1)
    while len(chosen) < count:
        chances = nearest * weights
        chances[chosen] = 0.0
        chosen.append(int(rng.choice(len(points), p=chances / chances.sum())))
        nearest = np.minimum(nearest, _distances(points, points[chosen[-1:]])[:, 0])
    return points[chosen]


def _lloyd(points: Floats, weights: Floats, centres: Floats) -> Clusters:
    """Move each centre to the middle of its colours until none changes hands."""
    count = len(centres)
    owner = np.full(len(points), -1)
    for _ in range(MAX_ROUNDS):
        distances = _distances(points, centres)
        previous, owner = owner, distances.argmin(axis=1)
        if np.array_equal(previous, owner):
            break
        held = _summed(owner, weights, count)
        sums = np.column_stack([_summed(owner, weights * axis, count) for axis in points.T])
        # A centre that lost all its colours stays where it is and ends with no share.
        centres = np.where(held[:, None] > 0, sums / np.maximum(held, 1e-12)[:, None], centres)
    held = _summed(owner, weights, count)
    spread = float((_distances(points, centres)[np.arange(len(points)), owner] * weights).sum())
    return Clusters(centres, held, spread)
