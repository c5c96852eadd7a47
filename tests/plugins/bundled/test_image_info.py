"""image-info: what it says of files with known contents, and its hashes."""

from __future__ import annotations

import pytest
from PIL import Image, ImageCms

from tests.plugins.bundled.conftest import Analyze, Refuse
from tests.plugins.bundled.pictures import SAMPLE, encoded


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


def test_image_info_refuses_options(refuse: Refuse) -> None:
    """It has none, and says so rather than ignore a misspelt wish."""
    image = encoded(Image.new("RGB", (4, 4)))
    said = refuse("image-info", image=image, mime_type="image/png", options={"fast": True})
    assert "no options" in said
