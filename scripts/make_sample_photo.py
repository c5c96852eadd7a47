# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2.0", "pillow>=11.0", "scikit-image>=0.25", "zxing-cpp>=3.0"]
# ///
"""Make plugins/bundled/samples/coffee-label.jpg: a photograph with a printed code on the table.

Run by a maintainer, `uv run scripts/make_sample_photo.py`, or in an environment that has the
packages named above; scikit-image is needed for its photograph of a coffee cup and nothing else.
A label is drawn, laid into the photograph in perspective, lit and shadowed as its surroundings
are, blurred and given a sensor's noise. Writes that one file, and only if the code can be read
back from it. The same versions of the packages give the same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import skimage.data  # type: ignore[import-not-found, import-untyped, unused-ignore]  # maintainers'
import zxingcpp
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

TARGET = Path(__file__).parents[1] / "plugins" / "bundled" / "samples" / "coffee-label.jpg"
TEXT = "https://example.org/coffee/lot-2417"
ENLARGED = 2
LABEL = (640, 760)
PAPER, INK = (246, 241, 228), (38, 32, 30)
# Where the label's corners lie in the photograph: top left, top right, bottom right, bottom left.
CORNERS = ((878.0, 428.0), (1142.0, 486.0), (1046.0, 786.0), (752.0, 706.0))
SEED = 2417

Floats = npt.NDArray[np.float64]


def main() -> int:
    """Write the sample; return 1 when the code cannot be read from it."""
    photo = Image.fromarray(skimage.data.coffee())
    size = (photo.width * ENLARGED, photo.height * ENLARGED)
    scene = _with_label(photo.resize(size, Image.Resampling.LANCZOS), _label())
    _as_by_a_camera(scene).save(TARGET, quality=84, optimize=True)
    with Image.open(TARGET) as written:
        read = [barcode.text for barcode in zxingcpp.read_barcodes(written)]
    if read != [TEXT]:
        sys.stderr.write(f"the code in {TARGET} reads {read}, not {TEXT!r}\n")
        return 1
    return 0


def _label() -> Image.Image:
    """Draw the label flat, as it comes from the printer."""
    label = Image.new("RGB", LABEL, PAPER)
    code = zxingcpp.create_barcode(TEXT, zxingcpp.BarcodeFormat.QRCode, ec_level="M")
    bitmap = np.asarray(zxingcpp.write_barcode_to_image(code, scale=16, add_quiet_zones=False))
    symbol = Image.fromarray(255 - bitmap)
    label.paste(INK, ((LABEL[0] - symbol.width) // 2, 70), symbol)
    draw = ImageDraw.Draw(label)
    for text, height, points in (("House espresso", 600, 58), ("lot 2417", 672, 44)):
        font = ImageFont.load_default(points)
        draw.text((LABEL[0] / 2, height), text, INK, font, anchor="mm")
    return label


def _with_label(scene: Image.Image, label: Image.Image) -> Image.Image:
    """Lay the label on the table: perspective, the table's own light, and a soft shadow."""
    coefficients = _perspective(CORNERS, LABEL)
    laid, mask = (
        image.transform(
            scene.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC
        )
        for image in (label, Image.new("L", LABEL, 255))
    )
    mask = mask.filter(ImageFilter.GaussianBlur(0.8))
    shadow = ImageChops.offset(mask, 5, 9).filter(ImageFilter.GaussianBlur(7))
    darker = scene.point(lambda value: value * 0.35)
    ground = Image.composite(darker, scene, shadow.point(lambda value: value * 0.8))
    return Image.composite(_lit(laid, scene), ground, mask)


def _lit(laid: Image.Image, scene: Image.Image) -> Image.Image:
    """Multiply by warm light that falls off to the lower left, as it does in the photograph."""
    rows, columns = np.mgrid[0 : scene.height, 0 : scene.width]
    fall = 0.58 + 0.34 * columns / scene.width - 0.16 * rows / scene.height
    table = np.asarray(scene.convert("L").filter(ImageFilter.GaussianBlur(60)), np.float64)
    light = fall * (0.8 + 0.4 * table / table.max())
    warm = np.array([1.0, 0.9, 0.74])
    return _image(np.asarray(laid, np.float64) * light[:, :, None] * warm)


def _as_by_a_camera(scene: Image.Image) -> Image.Image:
    """Blur slightly, as an enlarged photograph is blurred already, and add noise."""
    values = np.asarray(scene.filter(ImageFilter.GaussianBlur(0.9)), np.float64)
    noise = np.random.default_rng(SEED).normal(0.0, 1.0, values.shape)
    # More in brighter parts, as photons are counted.
    return _image(values + noise * (2.0 + 0.25 * np.sqrt(values)))


def _perspective(
    corners: tuple[tuple[float, float], ...], size: tuple[int, int]
) -> tuple[float, ...]:
    """Return the eight numbers by which Pillow maps a place in the scene to one on the label."""
    width, height = size
    flat = ((0, 0), (width, 0), (width, height), (0, height))
    rows: list[list[float]] = []
    for (x, y), (u, v) in zip(corners, flat, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    solved = np.linalg.solve(np.array(rows), np.array(flat, np.float64).ravel())
    return tuple(float(value) for value in solved)


def _image(values: Floats) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


if __name__ == "__main__":
    sys.exit(main())
