"""A plugin's page: tried with a picture, which is drawn upon; failing, suspended, resumed."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image
from playwright.sync_api import Locator, expect

from tests.api.page.browser.conftest import Site, Visit
from tests.api.page.browser.watched import NARROW, WIDE, Watched

PHOTO = Path(__file__).parents[4] / "plugins/bundled/samples/coffee-label.jpg"
# What the plugin ``shapes`` names, by the label that is drawn beside it: left, top, right, bottom.
PLACES = {
    "corners": (8, 10, 40, 42),
    "a quad of points": (60, 10, 90, 40),
    "a box 50%": (110, 10, 150, 40),
    "a bbox": (160, 10, 190, 40),
    "a polygon": (10, 60, 50, 90),
    "points": (70, 70, 90, 80),
}
# Of a picture of 200 pixels that is drawn on a screen: what its outline takes.
SLACK = 2.5


def picture(orientation: int = 0, shown: Image.Image | None = None) -> bytes:
    """Return a photograph of 200 by 100 pixels, of a camera that was held so; 6 is upright."""
    made = BytesIO()
    exif = Image.Exif()
    if orientation:
        exif[ExifTags.Base.Orientation] = orientation
    shown = shown or Image.radial_gradient("L").resize((200, 100))
    shown.save(made, "JPEG", exif=exif)
    return made.getvalue()


def run_with(tab: Watched, content: bytes) -> Locator:
    """Try a plugin with a picture; return the figure of it, with what is drawn upon it."""
    form = tab.page.locator("form[data-try]")
    form.get_by_label("Image").set_input_files(
        {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": content}
    )
    form.get_by_role("button", name="Run").click()
    figure = tab.page.locator("[data-drawn][data-ready]")
    expect(figure).to_be_visible()
    return figure


def drawn(figure: Locator, width: int, height: int) -> dict[str, tuple[float, ...]]:
    """Return where places are seen, by their labels, in pixels of a picture of that size."""
    places: dict[str, Any] = figure.evaluate(_SEEN)
    across, down = places.pop("")
    return {
        label: (
            left * width / across,
            top * height / down,
            right * width / across,
            bottom * height / down,
        )
        for label, (left, top, right, bottom) in places.items()
    }


# As it is on the screen, beside the picture's own top left.
_SEEN = """
(figure) => {
  const picture = figure.querySelector("[data-picture]").getBoundingClientRect();
  const seen = { "": [picture.width, picture.height] };
  for (const place of figure.querySelectorAll(".place")) {
    const found = [...place.querySelectorAll("polygon, circle")];
    const parts = found.map((one) => one.getBoundingClientRect());
    const isDots = place.querySelector("circle") !== null;
    const middle = (one) => [(one.left + one.right) / 2, (one.top + one.bottom) / 2];
    const xs = parts.flatMap((one) => (isDots ? [middle(one)[0]] : [one.left, one.right]));
    const ys = parts.flatMap((one) => (isDots ? [middle(one)[1]] : [one.top, one.bottom]));
    const label = place.querySelector("text").textContent.replace(/^\\d+ ?/, "");
    seen[label] = [
      Math.min(...xs) - picture.left,
      Math.min(...ys) - picture.top,
      Math.max(...xs) - picture.left,
      Math.max(...ys) - picture.top,
    ];
  }
  return seen;
}
"""


# Of each label, how far it sticks out of the picture, and how far it is from its place.
_LABELS = """
(figure) => {
  const picture = figure.querySelector("[data-picture]").getBoundingClientRect();
  const apart = (one, other) => Math.max(
    one.left - other.right, other.left - one.right,
    one.top - other.bottom, other.top - one.bottom, 0);
  return [...figure.querySelectorAll(".place")].map((place) => {
    const label = place.querySelector("text").getBoundingClientRect();
    const shape = place.querySelector("polygon").getBoundingClientRect();
    return {
      text: place.textContent,
      line: label.height,
      outside: Math.max(picture.left - label.left, picture.top - label.top,
        label.right - picture.right, label.bottom - picture.bottom),
      away: apart(label, shape),
    };
  });
}
"""


def test_places_are_drawn_where_they_are(open_site: Site, visit: Visit) -> None:
    """Of every form, and however the camera was held: the result is of the file's own pixels."""
    tab = visit(open_site, "/page/plugins/shapes")
    for orientation in (0, 6):
        figure = run_with(tab, picture(orientation))
        seen = drawn(figure, 200, 100)
        assert seen.keys() == PLACES.keys()
        for label, place in PLACES.items():
            assert seen[label] == pytest.approx(place, abs=SLACK), (label, orientation)
        expect(figure.locator("[data-turn-row]")).to_be_visible(visible=orientation == 6)
        forget(tab)
    lying = Image.linear_gradient("L").resize((200, 100))
    figure = run_with(tab, picture(3, lying))
    expect(figure.locator("[data-turn-row]")).to_be_visible()


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_labels_are_in_the_picture_next_to_their_places(
    open_site: Site, visit: Visit, width: int
) -> None:
    """Long ones, at the edges and beyond them."""
    tab = visit(open_site, "/page/plugins/shapes", width=width)
    tab.page.get_by_text("Options", exact=True).click()
    tab.page.get_by_label("Options").fill('{"edges": true}')
    figure = run_with(tab, picture())
    labels = figure.evaluate(_LABELS)
    assert len(labels) == 6
    for label in labels:
        assert label["outside"] <= SLACK, label
        assert label["away"] <= 2 * label["line"], label


def forget(tab: Watched) -> None:
    """Have the next picture waited for."""
    tab.page.evaluate("document.querySelector('[data-drawn]').removeAttribute('data-ready')")


def test_a_photograph_is_tried(open_site: Site, visit: Visit) -> None:
    """The code on it is read, and marked where the API says it is; the same is there as text."""
    tab = visit(open_site, "/page/plugins/barcode")
    tab.look("plugin")
    figure = run_with(tab, PHOTO.read_bytes())
    with open_site.client() as client:
        files = {"image": ("a.jpg", PHOTO.read_bytes(), "image/jpeg")}
        result = client.post("/v1/analyze", data={"plugin": "barcode"}, files=files).json()[
            "result"
        ]
    seen = drawn(figure, result["width"], result["height"])
    assert len(seen) == result["count"] > 0
    slack = SLACK * result["width"] / 200
    for code, place in zip(result["barcodes"], seen.values(), strict=True):
        xs, ys = zip(*code["corners"], strict=True)
        assert place == pytest.approx((min(xs), min(ys), max(xs), max(ys)), abs=slack)
        expect(tab.page.get_by_label("Result", exact=True)).to_contain_text(code["text"])
    tab.look("plugin-tried")
    tab.keep_picture("page")


def test_a_sample_is_there_for_who_has_no_picture(open_site: Site, visit: Visit) -> None:
    """With one click, and then it runs as any other."""
    tab = visit(open_site, "/page/plugins/image-info")
    tab.page.get_by_role("button", name="Use a sample").click()
    expect(tab.page.locator("[data-try-state]")).to_contain_text("is chosen")
    tab.page.get_by_role("button", name="Run").click()
    expect(tab.page.get_by_label("Result", exact=True)).to_contain_text('"JPEG"')
    with tab.page.expect_download() as saved:
        tab.page.get_by_role("link", name="Save the sample").click()
    assert saved.value.suggested_filename == "sample.jpeg"
    expect(tab.page.get_by_label("As curl")).to_contain_text("sample.jpeg", use_inner_text=False)
    tab.look("plugin-sample")


def test_a_failing_plugin_is_suspended_and_resumed(open_site: Site, visit: Visit) -> None:
    """Its failures show as they come, with their envelopes; suspended it takes no calls."""
    tab = visit(open_site, "/page/plugins/moody")
    page = tab.page
    body = {"plugin": "moody", "payload": {"fail": "bug"}}
    with open_site.client() as client:
        assert client.post("/v1/analyze", json=body).status_code == 400
        failure = page.locator("details.failure")
        expect(failure).to_have_count(1)
        failure.locator("summary").click()
        expect(failure).to_contain_text('"exception": "ValueError"')
        tab.look("plugin-failed")
        page.get_by_role("button", name="Suspend").click()
        expect(page.locator("main")).to_contain_text("Suspended by the operator")
        detail = client.post("/v1/analyze", json=body).json()["detail"]
        assert detail["type"] == "PluginUnavailable"
        run = page.get_by_role("button", name="Run")
        expect(run).to_be_disabled()
        expect(page.locator("form[data-try]")).to_contain_text("suspended by the operator")
        tab.look("plugin-suspended")
        client.post("/v1/plugins/moody/resume").raise_for_status()
        expect(run).to_be_enabled()
        client.post("/v1/plugins/moody/suspend").raise_for_status()
        expect(run).to_be_disabled()
        page.get_by_role("button", name="Resume").click()
        expect(page.get_by_role("button", name="Suspend")).to_be_visible()
    page.get_by_label("Payload").fill('{"n": 7}')
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_label("Result", exact=True)).to_contain_text('"n": 7')
