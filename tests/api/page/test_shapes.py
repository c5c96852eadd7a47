"""What of a result is drawn upon its picture: in every usual form, and nothing of what is none."""

from __future__ import annotations

import math
from typing import Any

import pytest

from toolrunner.api.page.shapes import (
    MOST_MASKS,
    MOST_POINTS,
    MOST_POINTS_IN_ALL,
    MOST_SHAPES,
    drawing_of,
)

SQUARE = ((1.0, 2.0), (11.0, 2.0), (11.0, 22.0), (1.0, 22.0))
CORNERS = [[1, 2], [11, 2], [11, 22], [1, 22]]


@pytest.mark.parametrize(
    "place",
    [
        {"corners": CORNERS},
        {"corners": [{"x": x, "y": y} for x, y in CORNERS]},
        {"corners": {"topLeft": {"x": 1, "y": 2}, "topRight": {"x": 11, "y": 2},
                     "bottomRight": {"x": 11, "y": 22}, "bottomLeft": {"x": 1, "y": 22}}},
        {"polygon": [1, 2, 11, 2, 11, 22, 1, 22]},
        {"quad": [[1.0, 2.0, 0.9], [11, 2, 0.9], [11, 22, 0.9], [1, 22, 0.9]]},
        {"box": [1, 2, 11, 22]},
        {"box": CORNERS},
        {"box": [[1, 2], [11, 22]]},
        {"bbox": [1, 2, 10, 20], "bbox_format": "xywh"},
        {"bbox": [1, 2, 10, 20], "area": 200},
        {"bbox": [1, 2, 11, 22], "format": "xyxy", "area": 5},
        {"xywh": [1, 2, 10, 20]},
        {"bounding_box": {"x": 1, "y": 2, "width": 10, "height": 20}},
        {"boundingBox": {"left": 1, "top": 2, "right": 11, "bottom": 22}},
        {"rect": {"x_min": 1, "y_min": 2, "x_max": 11, "y_max": 22}},
        {"x": 1, "y": 2, "w": 10, "h": 20},
        {"left": 1, "top": 2, "width": 10, "height": 20},
        {"segmentation": [[1, 2, 11, 2, 11, 22, 1, 22]]},
    ],
)  # fmt: skip
def test_a_place_is_found_in_every_usual_form(place: dict[str, Any]) -> None:
    """Wherever it stands in the result."""
    for result in (place, {"found": [place]}, {"a": {"b": [[{"c": place}]]}}):
        [shape] = drawing_of(result).shapes
        assert (shape.kind, shape.points) == ("outline", SQUARE)
        assert shape.svg_points == "1,2 11,2 11,22 1,22"
        assert shape.at == (1, 2)


@pytest.mark.parametrize(
    ("beside", "label"),
    [
        ({}, ""),
        ({"label": "cat"}, "cat"),
        ({"text": "ISBN 3", "format": "EAN13"}, "ISBN 3"),
        ({"format": "QRCode", "text": ""}, "QRCode"),
        ({"class_name": "dog", "score": 0.914}, "dog 91%"),
        ({"confidence": 0.5}, "50%"),
        ({"class": 7}, "7"),
        ({"label": ["no", "word"], "score": "none"}, ""),
        ({"label": "x" * 1000}, "x" * 70),
        ({"label": "\x1b[31mred\u202e"}, "red"),
    ],
)
def test_a_place_has_its_label_from_beside_it(beside: dict[str, Any], label: str) -> None:
    """Cut, and without what a terminal or a browser could take for more than text."""
    [shape] = drawing_of({"box": [1, 2, 11, 22], **beside}).shapes
    assert label in shape.label
    assert len(shape.label.encode()) <= 80
    assert "\x1b" not in shape.label


def test_lists_of_places_have_their_labels_in_lists() -> None:
    """As detectors give them."""
    drawing = drawing_of(
        {"boxes": [[1, 2, 11, 22], [3, 4, 5, 6]], "labels": ["a", "b"], "scores": [0.5, 1]}
    )
    assert [shape.label for shape in drawing.shapes] == ["a 50%", "b 100%"]
    [only] = drawing_of({"boxes": [{"box": [1, 2, 11, 22], "label": "a"}], "labels": [1, 2]}).shapes
    assert only.label == "a"
    assert [one.points for one in drawing_of({"polygons": [CORNERS, CORNERS]}).shapes] == [
        SQUARE
    ] * 2


def test_points_are_places_themselves() -> None:
    """One is enough."""
    [shape] = drawing_of({"landmarks": [[5, 6]], "name": "nose"}).shapes
    assert (shape.kind, shape.points, shape.label) == ("points", ((5.0, 6.0),), "nose")


def test_a_mask_is_a_path_of_what_is_marked() -> None:
    """Of numbers, of how sure somebody is, or an artifact that shows it."""
    [mask] = drawing_of({"mask": [[0, 1, 1], [0, 0, 0], [1, 0, 1]]}).masks
    assert (mask.width, mask.height) == (3, 3)
    assert mask.path == "M1 0h2v1h-2zM0 2h1v1h-1zM2 2h1v1h-1z"
    [mask] = drawing_of({"mask": [[0.1, 0.9, 0.5]] * 3, "label": "sky"}).masks
    assert (mask.path.count("M"), mask.label) == (3, "sky")
    [mask] = drawing_of({"mask": {"artifact": "mask.png", "bytes": 1}}).masks
    assert mask.artifact == "mask.png"
    for large in ([[1, 0] * 2000] * 4000, [[1] * 4097] * 3):
        assert all(len(one.path) < 100_000 for one in drawing_of({"mask": large}).masks)


def test_the_size_of_the_picture_is_what_the_result_says() -> None:
    """If it says it."""
    assert drawing_of({"width": 64, "height": 48, "barcodes": []}).size == (64, 48)
    for width in (None, "64", 0, -1, math.inf, True):
        assert drawing_of({"width": width, "height": 48}).size is None


@pytest.mark.parametrize(
    "value",
    [
        None, 1, "1,2,3,4", [], {}, [1, 2, 3], [1, 2, 3, "4"], [1, 2, 3, None], [True] * 4,
        [math.nan, 2, 11, 22], [1, 2, math.inf, 22], [1, 2, 11, 10**400], [1, 2, 1e9, 2e9],
        [[1, 2, 3, 4, 5]], [[[[1, 2]]]], [{"x": 1}], {"x": 1, "y": 2}, [[1, 2], [3]],
        {"left": 11, "top": 2, "right": 1, "bottom": 22}, [1, 2, -3, -4],
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["box", "corners", "polygon", "mask", "boxes"])
def test_what_is_no_place_is_left_out(name: str, value: object) -> None:
    """Whatever it is, and without a word."""
    assert drawing_of({name: value}).is_empty


def test_whatever_a_result_is_there_is_an_end_to_it() -> None:
    """Of shapes, points, masks and depth."""
    many = drawing_of({"a": [{"box": [1, 2, 11, 22]}] * (MOST_SHAPES + 1)})
    assert (len(many.shapes), many.places_left_out) == (MOST_SHAPES, 1)
    many = drawing_of({"boxes": [[1, 2, 11, 22]] * 100_000})
    assert (len(many.shapes), many.places_left_out) == (MOST_SHAPES, 100_000 - MOST_SHAPES)
    [outline] = drawing_of({"contour": [[1, 2]] * 100_000}).shapes
    assert len(outline.points) == MOST_POINTS
    masks = drawing_of({"a": [{"mask": [[1] * 9] * 9}] * 1000})
    assert (len(masks.masks), masks.places_left_out) == (MOST_MASKS, 1000 - MOST_MASKS)
    deep: dict[str, Any] = {"box": [1, 2, 11, 22]}
    for _ in range(90):
        deep = {"a": deep}
    assert drawing_of(deep).is_empty
    assert drawing_of({"a": [[[]] * 1000] * 1000}).has_more


def test_points_of_all_shapes_together_are_bounded() -> None:
    """A browser that draws a hundred thousand circles hangs; what is left out is counted."""
    drawing = drawing_of({"a": [{"points": [[1, 2]] * 2000}] * 60})
    assert sum(len(one.points) for one in drawing.shapes) == MOST_POINTS_IN_ALL
    left_out = drawing.points_left_out + 2000 * drawing.places_left_out
    assert left_out == 2000 * 60 - MOST_POINTS_IN_ALL
    assert not drawing.has_more
    outlines = drawing_of({"polygons": [[[1, 2]] * 900] * 20})
    assert {len(one.points) for one in outlines.shapes} == {900}
    assert len(outlines.shapes) + outlines.places_left_out == 20
    assert drawing_of({"a": [{"points": [[1, 2]] * 1000}] * 1000}).has_more


def test_bundled_results_are_drawn() -> None:
    """As the barcode reader and the text reader write them."""
    code = {"format": "QRCode", "text": "hello", "corners": CORNERS}
    drawing = drawing_of({"count": 1, "width": 64, "height": 48, "barcodes": [code]})
    assert [one.label for one in drawing.shapes] == ["hello"]
    line = {"text": "SALE", "confidence": 0.98, "box": [[1.5, 2.0], [9.0, 2.0], [9.0, 8.0], [1, 8]]}
    assert [one.label for one in drawing_of({"lines": [line]}).shapes] == ["SALE 98%"]
