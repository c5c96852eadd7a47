"""palette: the colours of images whose colours are known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.plugins.bundled.conftest import Analyze, Refuse
from tests.plugins.bundled.pictures import SAMPLE, encoded


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
