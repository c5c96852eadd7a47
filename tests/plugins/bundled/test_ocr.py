"""ocr: it reads, or says what to install."""

from __future__ import annotations

import importlib.metadata

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.plugins.bundled.conftest import Analyze, Refuse
from tests.plugins.bundled.pictures import SAMPLE, encoded, png_header
from toolrunner import Call, ToolRunner


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


def test_ocr_fits_its_memory_limit_on_long_lines(tool_runner: ToolRunner) -> None:
    """The widest lines that it looks at take most: half of the limit is enough for them."""
    if not (is_installed("rapidocr") and is_installed("onnxruntime")):
        return
    sheet = Image.new("RGB", (4000, 160), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for y in range(4, 140, 24):
        draw.text((4, y), " ".join(f"word{n * y}" for n in range(44)), "black", font)
    call = Call()
    payload = {"image": encoded(sheet), "mime_type": "image/png"}
    result, error = tool_runner.run("ocr", payload, call=call)
    assert error is None, error
    assert result["lines"]
    limit_mb = tool_runner.registry.plugin("ocr").manifest.limits.memory_mb
    assert call.usage.peak_memory_bytes < limit_mb * 1024 * 1024 / 2
