"""The bundled plugins, each called through ToolRunner in its box, on images with known contents."""

from __future__ import annotations

import base64
import importlib.metadata
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zxingcpp
from PIL import Image, ImageCms, ImageDraw, ImageFont

from toolrunner import PluginRegistry, ToolRunner

SAMPLE = Path(__file__).parents[2] / "plugins" / "bundled" / "samples" / "coffee-label.jpg"
IMAGE_PLUGINS = ("image-info", "barcode", "palette")
ALWAYS_THERE = (*IMAGE_PLUGINS, "text-stats")
FORMATS = zxingcpp.BarcodeFormat
# The module size in pixels of codes made here, and so the tolerance of a corner.
MODULE = 4
Analyze = Callable[..., dict[str, Any]]
Refuse = Callable[..., str]


@pytest.fixture(scope="module")
def tool_runner() -> Iterator[ToolRunner]:
    """One runner with the bundled plugins, on whatever this host can isolate."""
    with ToolRunner(PluginRegistry.discover()) as runner:
        yield runner


@pytest.fixture
def analyze(tool_runner: ToolRunner) -> Analyze:
    """Return a function that calls an image plugin and returns the result it must give."""

    def call(plugin: str, image: bytes, mime_type: str = "image/png", **options: object) -> Any:
        payload: dict[str, Any] = {"image": image, "mime_type": mime_type}
        result, error = tool_runner.run(plugin, payload | ({"options": options} if options else {}))
        assert error is None
        return result

    return call


@pytest.fixture
def refuse(tool_runner: ToolRunner) -> Refuse:
    """Return a function that calls a plugin with what it must refuse and returns the message."""

    def call(plugin: str, **payload: object) -> str:
        result, error = tool_runner.run(plugin, payload)
        assert result is None
        assert error is not None
        assert error["error"]["type"] == "ValidationError", error
        assert error["error"]["details"]["blame"] == "caller"
        return str(error["error"]["message"])

    return call


def encoded(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    """Return the bytes of an image file."""
    out = BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


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


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds 10 kB of zeros."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(10_000)))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("plugin", ALWAYS_THERE)
def test_a_bundled_plugin_can_run_with_the_default_install(
    tool_runner: ToolRunner, plugin: str
) -> None:
    """The default install brings what the bundled plugins but ocr need."""
    status = tool_runner.registry.get_status(plugin)
    assert status is not None
    assert tool_runner.registry.is_available(plugin), status.reason


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


def test_image_info_describes_a_photograph(analyze: Analyze) -> None:
    """The sample's container, size and depth, and no EXIF or profile, as it has none."""
    result = analyze("image-info", SAMPLE.read_bytes(), "image/jpeg")
    assert result["format"] == "JPEG"
    assert (result["width"], result["height"], result["mode"]) == (1200, 800, "RGB")
    assert (result["bits_per_channel"], result["has_alpha"]) == (8, False)
    assert (result["exif"], result["gps"], result["icc_profile"]) == ({}, None, None)


def test_image_info_reads_exif_gps_and_profile(analyze: Analyze) -> None:
    """Tags have names, GPS is in signed decimal degrees, long bytes are shortened."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Acme", 6
    gps = exif.get_ifd(0x8825)
    gps |= {1: "S", 2: (33.0, 51.0, 31.5), 3: "W", 4: (70.0, 12.0, 0.0), 5: b"\x01", 6: 12.5}
    details = exif.get_ifd(0x8769)
    details |= {0x9003: "2024:01:02 03:04:05", 0x829A: 1 / 125, 0x927C: b"\x01\x02" * 300}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("RGB", (300, 200), "teal")
    stored = encoded(image, "JPEG", exif=exif, icc_profile=profile)
    result = analyze("image-info", stored, "image/jpeg")
    assert result["exif"]["Make"] == "Acme"
    assert result["exif"]["DateTimeOriginal"] == "2024:01:02 03:04:05"
    assert result["exif"]["ExposureTime"] == pytest.approx(0.008)
    assert result["exif"]["MakerNote"].startswith("<600 bytes: 0102")
    assert result["gps"]["latitude"] == pytest.approx(-33.85875)
    assert result["gps"]["longitude"] == pytest.approx(-70.2)
    assert result["gps"]["altitude_m"] == pytest.approx(-12.5)
    assert result["orientation"]["value"] == 6
    assert result["displayed"] == {"width": 200, "height": 300}
    assert result["icc_profile"]["description"] == "sRGB built-in"


def test_image_info_survives_damaged_exif(analyze: Analyze) -> None:
    """EXIF that cannot be parsed is reported and the image is described all the same."""
    stored = encoded(Image.new("RGB", (30, 20)), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7fjunk")
    result = analyze("image-info", stored, "image/jpeg")
    assert (result["width"], result["exif"], result["gps"]) == (30, {}, None)


@pytest.mark.parametrize(
    ("kind", "mime", "animated"),
    [
        ("GIF", "image/gif", True),
        ("WEBP", "image/webp", True),
        ("PNG", "image/png", True),
        ("TIFF", "image/tiff", False),
    ],
)
def test_image_info_counts_frames(analyze: Analyze, kind: str, mime: str, animated: bool) -> None:
    """Animations and the pages of a TIFF are counted and told apart."""
    first, *more = (Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue"))
    stored = encoded(first, kind, save_all=True, append_images=more)
    frames = analyze("image-info", stored, mime)["frames"]
    assert (frames["count"], frames["animated"]) == (3, animated)


def test_image_info_tells_depth_and_transparency(analyze: Analyze) -> None:
    """Sixteen bits and an alpha channel are seen, whatever the decoder makes of them."""
    deep = analyze("image-info", encoded(Image.new("I;16", (40, 30), 40_000)))
    assert (deep["bits_per_channel"], deep["has_alpha"]) == (16, False)
    clear = analyze("image-info", encoded(Image.new("RGBA", (40, 30))))
    assert (clear["bits_per_channel"], clear["has_alpha"]) == (8, True)


def test_perceptual_hashes_follow_the_picture_and_not_the_file(analyze: Analyze) -> None:
    """Small and recompressed is near; turned with an EXIF mark is near; mirrored is far."""
    with Image.open(SAMPLE) as photo:
        photo.load()
    exif = Image.Exif()
    exif[0x0112] = 8
    turned = photo.transpose(Image.Transpose.ROTATE_270)
    variants = {
        "small": encoded(photo.resize((300, 200)), "JPEG", quality=40),
        "turned": encoded(turned, "JPEG", exif=exif),
        "mirrored": encoded(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "JPEG"),
    }
    original = analyze("image-info", SAMPLE.read_bytes(), "image/jpeg")
    for hash_name in ("phash", "dhash"):
        assert len(original[hash_name]) == 16
        far = {
            name: (
                int(original[hash_name], 16)
                ^ int(analyze("image-info", image, "image/jpeg")[hash_name], 16)
            ).bit_count()
            for name, image in variants.items()
        }
        assert far["small"] <= 4
        assert far["turned"] <= 4
        assert far["mirrored"] >= 16


def test_perceptual_hashes_of_the_sample_are_those_of_imagehash(analyze: Analyze) -> None:
    """The values were computed with ImageHash 4.3.2, the definition that others compare with."""
    result = analyze("image-info", SAMPLE.read_bytes(), "image/jpeg")
    assert (result["phash"], result["dhash"]) == ("bf8b20336c9f2236", "f3e96933160b0c36")


def test_palette_gives_the_exact_colours_of_flat_art(analyze: Analyze) -> None:
    """Few distinct colours come back as they are, by area."""
    image = Image.new("RGB", (100, 100), "#d02020")
    image.paste("#20c040", (0, 0, 30, 100))
    image.paste("#1234ab", (0, 0, 10, 100))
    result = analyze("palette", encoded(image))
    assert result["colours"] == [
        {"hex": "#d02020", "rgb": [208, 32, 32], "share": 0.7},
        {"hex": "#20c040", "rgb": [32, 192, 64], "share": 0.2},
        {"hex": "#1234ab", "rgb": [18, 52, 171], "share": 0.1},
    ]


def test_palette_finds_the_centres_of_noisy_colours(analyze: Analyze) -> None:
    """Three noisy patches give their three colours, with shares that add up."""
    truth = {(200, 60, 50): 0.5, (60, 90, 180): 0.3, (230, 220, 200): 0.2}
    columns = [np.tile(colour, (200, round(share * 400), 1)) for colour, share in truth.items()]
    noise = np.random.default_rng(7).normal(0, 8, (200, 400, 3))
    values = np.clip(np.concatenate(columns, axis=1) + noise, 0, 255).astype(np.uint8)
    result = analyze("palette", encoded(Image.fromarray(values)), colours=3)
    assert sum(colour["share"] for colour in result["colours"]) == pytest.approx(1, abs=0.001)
    for found, (colour, share) in zip(result["colours"], truth.items(), strict=True):
        np.testing.assert_allclose(found["rgb"], colour, atol=3)
        assert found["share"] == pytest.approx(share, abs=0.01)


def test_palette_does_not_take_a_pattern_for_one_colour(analyze: Analyze) -> None:
    """Stripes of one pixel keep both colours in a large image."""
    values = np.zeros((1000, 1024, 3), np.uint8)
    values[:, ::2], values[:, 1::2] = (255, 0, 0), (0, 0, 255)
    result = analyze("palette", encoded(Image.fromarray(values)))
    assert {colour["hex"] for colour in result["colours"]} == {"#ff0000", "#0000ff"}
    assert result["colours"][0]["share"] == pytest.approx(0.5, abs=0.01)


def test_palette_ignores_transparent_pixels(analyze: Analyze, refuse: Refuse) -> None:
    """What cannot be seen has no share, and nothing to see is refused."""
    image = Image.new("RGBA", (10, 10), (255, 0, 255, 0))
    assert "transparent" in refuse("palette", image=encoded(image), mime_type="image/png")
    image.paste((10, 200, 30, 255), (0, 0, 3, 3))
    assert analyze("palette", encoded(image))["colours"] == [
        {"hex": "#0ac81e", "rgb": [10, 200, 30], "share": 1.0}
    ]


def test_palette_gives_the_same_answer_every_time(analyze: Analyze) -> None:
    """Of a photograph too, where the clustering starts at random."""
    photo = SAMPLE.read_bytes()
    first = analyze("palette", photo, "image/jpeg", colours=8)
    assert len(first["colours"]) == 8
    assert analyze("palette", photo, "image/jpeg", colours=8) == first


@pytest.mark.parametrize(
    "options", [{"colours": 0}, {"colours": 17}, {"colours": True}, {"colors": 3}, "five"]
)
def test_palette_refuses_wrong_options(refuse: Refuse, options: object) -> None:
    """The message names the option."""
    image = encoded(Image.new("RGB", (4, 4)))
    assert "colours" in refuse("palette", image=image, mime_type="image/png", options=options)


def test_palette_refuses_a_mode_without_colours(refuse: Refuse) -> None:
    """A floating-point image has no defined colours, and the message says so."""
    image = encoded(Image.new("F", (40, 30), 0.5), "TIFF")
    assert "mode F" in refuse("palette", image=image, mime_type="image/tiff")


@pytest.mark.parametrize("plugin", IMAGE_PLUGINS)
@pytest.mark.parametrize(
    ("image", "said"),
    [
        pytest.param(SAMPLE.read_bytes()[:60_000], "truncated", id="truncated-jpeg"),
        pytest.param(
            encoded(Image.effect_noise((99, 99), 90))[:2000], "truncated", id="truncated-png"
        ),
        pytest.param(b"%PDF-1.7 not an image", "not an image", id="no-image"),
        pytest.param(png_header(50_000, 50_000), "too large", id="huge-bomb"),
        pytest.param(png_header(10_000, 10_000), "too large", id="bomb-by-warning"),
        pytest.param(png_header(8_000, 8_000), "at most 50,000,000", id="own-cap"),
        pytest.param(png_header(0, 5), "not an image", id="zero-size"),
    ],
)
def test_an_image_plugin_refuses_what_it_cannot_decode(
    refuse: Refuse, plugin: str, image: bytes, said: str
) -> None:
    """A damaged or hostile file is the caller's fault and is named for what it is."""
    assert said in refuse(plugin, image=image, mime_type="image/png")


def test_image_info_refuses_options(refuse: Refuse) -> None:
    """It has none, and says so rather than ignore a misspelt wish."""
    image = encoded(Image.new("RGB", (4, 4)))
    said = refuse("image-info", image=image, mime_type="image/png", options={"fast": True})
    assert "no options" in said


def test_text_stats_measures_its_own_example(tool_runner: ToolRunner) -> None:
    """The example of the manifest's schema is a good payload, with known answers."""
    manifest = tool_runner.registry.plugin("text-stats").manifest
    assert manifest.input_schema is not None
    result, error = tool_runner.run("text-stats", manifest.input_schema["examples"][0])
    assert error is None
    assert result is not None
    assert (result["characters"], result["words"], result["unique_words"]) == (65, 16, 10)
    assert (result["sentences"], result["lines"]) == (2, 1)
    assert result["most_common_words"][:2] == [
        {"word": "the", "count": 4},
        {"word": "cat", "count": 2},
    ]
    assert len(result["most_common_words"]) == 3
    # 16 words, 2 sentences, 16 syllables.
    assert result["flesch_reading_ease"] == pytest.approx(206.835 - 1.015 * 8 - 84.6, abs=0.06)


@pytest.mark.parametrize(
    ("text", "words", "sentences"),
    [
        (
            "Mr. Smith met J. R. Tolkien at 3.14 km. \u201cHi!\u201d he said. Then left... and so.",
            16,
            3,
        ),
        ("Don\u2019t e-mail 1,000.50 to the U.S.A. now", 7, 1),
        ("\u6211\u559c\u6b22\u5496\u5561\u3002\u4f60\u5462\uff1f", 7, 2),
        (
            "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u041a\u0430\u043a?",
            3,
            2,
        ),
        ("\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e\u0964", 2, 1),
        ("Heading\n\nBody text here", 4, 2),
        ("cafe\u0301", 1, 1),
        (" \n", 0, 0),
    ],
)
def test_text_stats_counts_words_and_sentences_of_many_scripts(
    tool_runner: ToolRunner, text: str, words: int, sentences: int
) -> None:
    """Abbreviations, decimals, marks, ideographs and other stops are understood."""
    result, error = tool_runner.run("text-stats", {"text": text})
    assert error is None
    assert result is not None
    assert (result["words"], result["sentences"]) == (words, sentences)


def test_text_stats_gives_no_readability_where_none_is_defined(tool_runner: ToolRunner) -> None:
    """Flesch's formula is for English: an empty or a Russian text has no such score."""
    for text in ("", "\u041a\u0430\u043a \u0434\u0435\u043b\u0430?"):
        result, error = tool_runner.run("text-stats", {"text": text})
        assert error is None
        assert result is not None
        assert result["flesch_reading_ease"] is None


@pytest.mark.parametrize("text", [". " * 10 + "." * 400_000 + "x", "a. " * 130_000])
def test_text_stats_takes_linear_time(tool_runner: ToolRunner, text: str) -> None:
    """Runs of stops and of abbreviations do not send it over its limit of processor time."""
    result, error = tool_runner.run("text-stats", {"text": text})
    assert error is None
    assert result is not None


@pytest.mark.parametrize(
    "payload", [{}, {"text": 5}, {"text": "a", "top": 0}, {"text": "a", "more": 1}]
)
def test_text_stats_refuses_what_its_schema_forbids(
    refuse: Refuse, payload: dict[str, Any]
) -> None:
    """The schema of the manifest guards the plugin."""
    assert refuse("text-stats", **payload)


def is_installed(distribution: str) -> bool:
    """Tell whether a distribution is there, without importing it."""
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def test_ocr_reads_print_or_says_how_to_install_it(
    tool_runner: ToolRunner, analyze: Analyze, refuse: Refuse
) -> None:
    """With its extra installed, ocr reads; without, it is unavailable with the command to run."""
    if not (is_installed("rapidocr") and is_installed("onnxruntime")):
        status = tool_runner.registry.get_status("ocr")
        assert status is not None
        assert status.state == "UNAVAILABLE"
        assert "pip install" in status.reason
        assert "rapidocr" in status.reason or "onnxruntime" in status.reason
        result, error = tool_runner.run("ocr", {"image": b"x", "mime_type": "image/png"})
        assert result is None
        assert error is not None
        assert error["error"]["type"] == "PluginUnavailable"
        return
    sheet = Image.new("RGB", (640, 200), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(40)
    draw.text((20, 30), "Hello, world 42", "black", font)
    draw.text((20, 110), "The quick brown fox", "black", font)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(sheet.rotate(90, expand=True), "JPEG", quality=95, exif=exif)
    result = analyze("ocr", turned, "image/jpeg")
    assert (result["width"], result["height"]) == (640, 200)
    assert [line["text"] for line in result["lines"]] == ["Hello, world 42", "The quick brown fox"]
    first = result["lines"][0]
    assert first["confidence"] > 0.9
    np.testing.assert_allclose(first["box"], [[20, 35], [290, 35], [290, 75], [20, 75]], atol=15)
    photo = analyze("ocr", SAMPLE.read_bytes(), "image/jpeg")
    assert "House espresso" in photo["text"]
    empty = analyze("ocr", encoded(Image.new("RGB", (640, 480), "white")))
    assert (empty["lines"], empty["text"]) == ([], "")
    assert "truncated" in refuse("ocr", image=turned[:3000], mime_type="image/jpeg")
    assert "too large" in refuse("ocr", image=png_header(8000, 8000), mime_type="image/png")
    wrong = {"min_confidence": 2}
    assert "0 to 1" in refuse("ocr", image=turned, mime_type="image/jpeg", options=wrong)
