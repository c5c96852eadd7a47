"""barcode: kinds, places, modes, and what it finds in a photograph."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import zxingcpp
from PIL import Image, ImageCms

from tests.plugins.bundled.conftest import Analyze, Refuse
from tests.plugins.bundled.pictures import SAMPLE, encoded

FORMATS = zxingcpp.BarcodeFormat
# The module size in pixels of codes made here, and so the tolerance of a corner.
MODULE = 4


def symbol(kind: zxingcpp.BarcodeFormat, content: str | bytes) -> Image.Image:
    """Return a barcode without its quiet zone, black on white."""
    drawn = zxingcpp.write_barcode_to_image(
        zxingcpp.create_barcode(content, kind), scale=MODULE, add_quiet_zones=False
    )
    return Image.fromarray(np.asarray(drawn))


def page(*placed: tuple[Image.Image, tuple[int, int]]) -> Image.Image:
    """Return a white page with pictures at places."""
    sheet = Image.new("L", (900, 700), 255)
    for picture, place in placed:
        sheet.paste(picture, place)
    return sheet


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        (FORMATS.QRCode, "QRCode", "https://example.org/?q=caf\u00e9"),
        (FORMATS.EAN13, "EAN13", "4006381333931"),
        (FORMATS.Code128, "Code128", "Lot-2417/B"),
        (FORMATS.DataMatrix, "DataMatrix", "sn 0042"),
        (FORMATS.PDF417, "PDF417", "boarding pass"),
        (FORMATS.Aztec, "Aztec", "ticket 7"),
    ],
)
def test_barcode_reads_each_kind_with_its_corners(
    analyze: Analyze, kind: zxingcpp.BarcodeFormat, name: str, text: str
) -> None:
    """Kind, text and the four corners, clockwise from the top left, are right."""
    code = symbol(kind, text)
    result = analyze("barcode", encoded(page((code, (120, 80)))))
    assert (result["count"], result["width"], result["height"]) == (1, 900, 700)
    found = result["barcodes"][0]
    assert (found["format"], found["text"], found["content_type"]) == (name, text, "Text")
    assert found["bytes"] is None
    # The guard bars of an EAN reach five modules below the others, of which the corners are.
    below = 5 * MODULE if name == "EAN13" else 0
    right, bottom = 120 + code.width, 80 + code.height - below
    corners = [[120, 80], [right, 80], [right, bottom], [120, bottom]]
    np.testing.assert_allclose(found["corners"], corners, atol=2 * MODULE)


def test_barcode_finds_every_code_and_only_wanted_formats(analyze: Analyze) -> None:
    """Several codes on a page are all found; ``formats`` narrows the search."""
    sheet = page(
        (symbol(FORMATS.QRCode, "one"), (50, 50)),
        (symbol(FORMATS.EAN13, "4006381333931"), (300, 400)),
    )
    image = encoded(sheet)
    both = analyze("barcode", image)
    assert sorted(code["text"] for code in both["barcodes"]) == ["4006381333931", "one"]
    only = analyze("barcode", image, formats=["qr-code"], try_harder=False)
    assert [code["text"] for code in only["barcodes"]] == ["one"]


def test_barcode_gives_the_bytes_of_what_is_not_text(analyze: Analyze) -> None:
    """Binary content arrives unharmed, as base64."""
    content = bytes([0, 255, 254, 1, 2])
    result = analyze("barcode", encoded(page((symbol(FORMATS.QRCode, content), (50, 50)))))
    found = result["barcodes"][0]
    assert found["content_type"] == "Binary"
    assert base64.b64decode(found["bytes"]) == content


def test_barcode_gives_places_in_the_upright_image(analyze: Analyze) -> None:
    """EXIF orientation is applied before the corners are measured."""
    upright = page((symbol(FORMATS.QRCode, "upright"), (600, 60)))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = encoded(upright.rotate(90, expand=True), "JPEG", quality=95, exif=exif)
    result = analyze("barcode", stored, "image/jpeg")
    assert (result["width"], result["height"]) == (900, 700)
    found = result["barcodes"][0]
    np.testing.assert_allclose(found["corners"][0], [600, 60], atol=2 * MODULE)
    assert found["orientation"] == 0


def test_barcode_reads_white_on_transparent(analyze: Analyze) -> None:
    """A light code without a background is not lost on white paper."""
    ink = page((symbol(FORMATS.QRCode, "ghost"), (50, 50))).point(lambda value: 255 - value)
    image = Image.new("RGBA", ink.size, (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), mask=ink)
    assert [c["text"] for c in analyze("barcode", encoded(image))["barcodes"]] == ["ghost"]


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "I;16", "F", "CMYK"])
def test_barcode_reads_every_mode(analyze: Analyze, mode: str) -> None:
    """Bilevel, palette, transparent, deep and print images are all read."""
    sheet = page((symbol(FORMATS.QRCode, mode), (50, 50))).convert(mode)
    kind, mime = ("TIFF", "image/tiff") if mode in {"F", "CMYK"} else ("PNG", "image/png")
    assert [c["text"] for c in analyze("barcode", encoded(sheet, kind), mime)["barcodes"]] == [mode]


def test_lab_is_read_as_any_other_mode(analyze: Analyze) -> None:
    """By all of them: a TIFF for print may have it."""
    sheet = page((symbol(FORMATS.QRCode, "LAB"), (50, 50)))
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(sheet.convert("RGB"), *profiles, outputMode="LAB")
    assert lab is not None
    image = encoded(lab, "TIFF")
    assert [c["text"] for c in analyze("barcode", image, "image/tiff")["barcodes"]] == ["LAB"]
    info = analyze("image-info", image, "image/tiff")
    assert info["mode"] == "LAB"
    assert info["dhash"] == analyze("image-info", encoded(sheet))["dhash"]
    assert analyze("palette", image, "image/tiff")["distinct_colours"] == 2


def test_barcode_finds_nothing_in_an_empty_page(analyze: Analyze) -> None:
    """No code is an answer, not an error."""
    assert analyze("barcode", encoded(page())) == {
        "count": 0,
        "width": 900,
        "height": 700,
        "barcodes": [],
    }


def test_barcode_reads_the_sample_photograph(analyze: Analyze) -> None:
    """The label on the table: perspective, uneven light, blur, noise, JPEG."""
    result = analyze("barcode", SAMPLE.read_bytes(), "image/jpeg")
    found = [(code["format"], code["text"]) for code in result["barcodes"]]
    assert found == [("QRCode", "https://example.org/coffee/lot-2417")]
    # Where the script that made the photograph put them.
    corners = [[903, 459], [1096, 502], [1036, 678], [830, 626]]
    np.testing.assert_allclose(result["barcodes"][0]["corners"], corners, atol=4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"formats": []}, "QRCode"),
        ({"formats": "QRCode"}, "QRCode"),
        ({"formats": ["Roman"]}, "DataMatrix"),
        ({"formats": [7]}, "DataMatrix"),
        ({"try_harder": 1}, "true or false"),
        ({"ean_add_on": "maybe"}, "require"),
        ({"format": ["QRCode"]}, "formats"),
        ([], "object"),
    ],
)
def test_barcode_names_what_its_options_allow(refuse: Refuse, options: object, said: str) -> None:
    """A wrong option is the caller's fault, and the message says what is allowed."""
    image = encoded(page())
    assert said in refuse("barcode", image=image, mime_type="image/png", options=options)
