"""What holds for the bundled plugins alike: they can run, and refuse what is no image."""

from __future__ import annotations

import pytest
from PIL import Image

from tests.plugins.bundled.conftest import Refuse
from tests.plugins.bundled.pictures import SAMPLE, encoded, png_header
from toolrunner import ToolRunner

IMAGE_PLUGINS = ("image-info", "barcode", "palette")
ALWAYS_THERE = (*IMAGE_PLUGINS, "text-stats")


@pytest.mark.parametrize("plugin", ALWAYS_THERE)
def test_a_bundled_plugin_can_run_with_the_default_install(
    tool_runner: ToolRunner, plugin: str
) -> None:
    """The default install brings what the bundled plugins but ocr need."""
    status = tool_runner.registry.get_status(plugin)
    assert status is not None
    assert tool_runner.registry.is_available(plugin), status.reason


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
