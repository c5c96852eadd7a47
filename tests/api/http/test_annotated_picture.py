"""A picture goes in and one with something drawn upon it comes out, as the authors' guide shows."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.api.conftest import Cli
from tests.api.http.conftest import MakeSite

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs/plugins.md").read_text("utf-8")
PHOTO = ROOT / "plugins/bundled/samples/coffee-label.jpg"


@pytest.fixture
def frame(tmp_path: Path) -> Path:
    """The plugin of the guide."""
    [source] = [
        block
        for block in re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
        if 'name = "frame"' in block
    ]
    tmp_path.chmod(0o755)
    path = tmp_path / "frame.py"
    path.write_text(source)
    return path


def check(data: bytes) -> None:
    """Assert that this is the photograph with a red edge."""
    with Image.open(io.BytesIO(data)) as drawn, Image.open(PHOTO) as photo:
        assert (drawn.format, drawn.size) == ("PNG", photo.size)
        assert drawn.getpixel((0, 0)) == drawn.getpixel((drawn.width - 1, 1)) == (255, 0, 0)


def test_from_the_command_line(cli: Cli, frame: Path, tmp_path: Path) -> None:
    """Below the folder that was named, by the picture's name."""
    ended = cli("--plugins", frame, "analyze", "frame", PHOTO, "--out", "out")
    assert ended.status == 0, ended.err
    check((tmp_path / "out/coffee-label.jpg.artifacts/framed.png").read_bytes())


def test_over_http_and_out_of_a_job(make_site: MakeSite, frame: Path) -> None:
    """Whoever waits gets it in base64; a job's is a file."""
    site = make_site(frame)
    fields = {"plugin": "frame"}
    files = {"image": ("a.jpg", PHOTO.read_bytes(), "image/jpeg")}
    answer = site.client.post("/v1/analyze", data=fields, files=files).json()
    [shown] = answer["artifacts"]
    data = base64.b64decode(shown.pop("data"))
    check(data)
    assert answer["result"]["framed"]["sha256"] == shown["sha256"]
    job = site.client.post("/v1/jobs", data=fields, files=files).json()["id"]
    assert site.ended(job)["status"] == "SUCCESS"
    assert site.get(f"/v1/jobs/{job}/artifacts").json() == [shown]
    response = site.get(f"/v1/jobs/{job}/artifacts/framed.png")
    assert (response.headers["content-type"], response.content) == ("image/png", data)
