"""What type an image is said to be: labels, other names of types, and labels that say nothing."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import ToolRunner
from toolrunner.runner.errors import GovernedError
from toolrunner.runner.payloads.labels import accepted_as, labelled

PNG = b"\x89PNG\r\n\x1a\n and so on"
JPEG = b"\xff\xd8\xff\xe0 and so on"
JUNK = b"nothing that anybody knows"
ACCEPTS = ("image/png", "image/jpeg")


def label_of(accepts: tuple[str, ...] = ACCEPTS, **payload: Any) -> Any:
    """Return the label that a payload ends up with."""
    return labelled(payload, accepts, 1).get("mime_type")


@pytest.mark.parametrize(
    "image", [PNG, bytearray(PNG), memoryview(PNG), base64.b64encode(PNG).decode()]
)
@pytest.mark.parametrize(
    "label", [{}, {"mime_type": None}, {"mime_type": " Application/Octet-Stream; x=y"}]
)
def test_a_label_that_says_nothing_is_told_by_the_content(
    image: Any, label: dict[str, Any]
) -> None:
    """In whichever form the image is given."""
    assert label_of(image=image, **label) == "image/png"


@pytest.mark.parametrize("image", [JUNK, b"", "not base64!", "", None, 7])
def test_content_that_suggests_nothing_changes_nothing(image: Any) -> None:
    """It is refused as before, for the label that it lacks or has."""
    for label in ({}, {"mime_type": "application/octet-stream"}):
        payload = {"image": image, **label}
        assert labelled(payload, ACCEPTS, 1) is payload


@pytest.mark.parametrize("label", ["image/jpeg", "image/gif", "text/plain", "", "png", 5, b"x"])
def test_a_label_that_says_something_counts(label: Any) -> None:
    """Whatever the content is: that is for the plugin to see."""
    assert label_of(image=PNG, mime_type=label) == label


def test_a_plugin_for_any_bytes_gets_any_bytes() -> None:
    """Where octet-stream is accepted it says something."""
    accepts = ("application/octet-stream", "image/png")
    assert label_of(accepts, image=PNG, mime_type="application/octet-stream") == (
        "application/octet-stream"
    )


@pytest.mark.parametrize(
    ("label", "accepts", "accepted"),
    [
        ("image/jpg", ("image/jpeg",), "image/jpeg"),
        ("IMAGE/JPG; q=1", ("image/jpeg",), "image/jpeg"),
        ("image/jpeg", ("image/jpg",), "image/jpg"),
        ("image/pjpeg", ("image/jpg",), "image/jpg"),
        ("image/jpg", ("image/jpeg", "image/jpg"), "image/jpg"),
        ("image/x-ms-bmp", ("image/bmp",), "image/bmp"),
        ("image/jpg", ("image/png",), None),
        ("image/", ("image/png",), None),
    ],
)
def test_a_type_has_other_names(label: str, accepts: tuple[str, ...], accepted: str | None) -> None:
    """The plugin is told the one that it has listed."""
    assert accepted_as(label, accepts) == accepted


def test_what_is_guessed_is_told_by_the_name_that_the_plugin_lists() -> None:
    """As a label would be."""
    assert label_of(("image/jpg",), image=JPEG) == "image/jpg"


@pytest.mark.parametrize("payload", [None, [], 7, "image", {}])
def test_what_is_no_payload_is_left_alone(payload: Any) -> None:
    """Others say so."""
    assert labelled(payload, ACCEPTS, 1) is payload


def test_a_path_is_read(tmp_path: Path) -> None:
    """And labelled by its content, not by its name."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(PNG)
    assert labelled({"image": path, "options": {}}, ACCEPTS, 1) == {
        "image": PNG,
        "mime_type": "image/png",
        "options": {},
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.png", "there is no such file; correct the path"),
        (".", "cannot be read"),
        ("pipe", "is no file; give the path of one, or bytes"),
        ("large.png", "is larger than 1 MiB"),
        ("a\0b", "cannot be read"),
    ],
)
def test_a_path_that_leads_to_no_image_says_why(tmp_path: Path, name: str, words: str) -> None:
    """It is the caller's fault, and nobody waits for a pipe."""
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(2**20 + 1)
    with pytest.raises(GovernedError, match=words) as raised:
        labelled({"image": tmp_path / name}, ACCEPTS, 1)
    assert raised.value.error_type == "ValidationError"


@pytest.fixture
def tool_runner(write_plugin: WritePlugin, make_runner: MakeRunner) -> ToolRunner:
    """A runner of a plugin that says what it was given."""
    body = 'def run(p):\n    return {"type": p["mime_type"], "size": len(p["image"])}\n'
    return make_runner(write_plugin(body, input="image", accepts='["image/png", "image/jpeg"]'))


def test_every_call_goes_by_the_rule(tool_runner: ToolRunner, tmp_path: Path) -> None:
    """The plugin sees the label that counts."""
    path = tmp_path / "photo"
    path.write_bytes(JPEG)
    for payload, label in (
        ({"image": path}, "image/jpeg"),
        ({"image": PNG}, "image/png"),
        ({"image": PNG, "mime_type": "image/jpg"}, "image/jpeg"),
        ({"image": PNG, "mime_type": "application/octet-stream"}, "image/png"),
    ):
        size = len(JPEG if payload["image"] is path else PNG)
        assert tool_runner.run("sample", payload) == ({"type": label, "size": size}, None)


def test_a_path_as_text_is_told_what_to_be(tool_runner: ToolRunner) -> None:
    """Text is base64, whatever it looks like."""
    _, error = tool_runner.run("sample", {"image": "photos/a.png", "mime_type": "image/png"})
    assert error is not None
    assert "the path of a file is given as a Path" in error["error"]["message"]


def test_a_wrong_label_is_refused_whatever_the_content_is(tool_runner: ToolRunner) -> None:
    """A label outside of what the plugin takes is not made good by the bytes."""
    _, error = tool_runner.run("sample", {"image": PNG, "mime_type": "image/heic"})
    assert error is not None
    assert "does not take" in error["error"]["message"]


def test_a_missing_path_is_an_envelope(tool_runner: ToolRunner, tmp_path: Path) -> None:
    """Recorded once, as every call."""
    _, error = tool_runner.run("sample", {"image": tmp_path / "nowhere"})
    assert error is not None
    assert error["error"]["type"] == "ValidationError"
    assert "nowhere: there is no such file" in error["error"]["message"]
    status = tool_runner.registry.get_status("sample")
    assert status is not None
    assert (status.error_count, status.in_flight) == (1, 0)
