"""Validation: what a plugin may be given, and what it may answer."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.validation import (
    Payload,
    check_accepts,
    check_size,
    parse_result,
    validate_input_payload,
    validate_json_payload,
    validate_plugin_output,
)

PNG = b"\x89PNG\r\n\x1a\n"
NESTED: list[Any] = []
for _ in range(100):
    NESTED = [NESTED]


def image_payload(**changes: object) -> dict[str, Any]:
    """Return a good payload with changes."""
    return {"image": PNG, "mime_type": "image/png", **changes}


def refused(payload: Any) -> str:
    """Return the message with which an image payload is refused."""
    with pytest.raises(GovernedError) as caught:
        validate_input_payload(payload)
    assert caught.value.error_type is ErrorType.VALIDATION_ERROR
    return caught.value.message


@pytest.mark.parametrize(
    "image", [PNG, bytearray(PNG), memoryview(PNG), base64.b64encode(PNG).decode()]
)
def test_plugin_receives_bytes_however_the_image_was_given(image: object) -> None:
    """Bytes of any kind and base64 text become the same bytes; the rest is the head."""
    checked = validate_input_payload(image_payload(image=image, options={"top": 3}))
    assert type(checked.image) is bytes
    assert checked == Payload({"mime_type": "image/png", "options": {"top": 3}}, PNG)
    assert checked.head_json == b'{"mime_type":"image/png","options":{"top":3}}'


def test_callers_payload_is_left_alone() -> None:
    """Nothing is taken out of the dict that the caller keeps."""
    payload = image_payload(image=bytearray(PNG))
    checked = validate_input_payload(payload)
    payload["image"][0] = 0
    assert checked.image == PNG
    assert payload.keys() == {"image", "mime_type"}


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (None, "of type NoneType; give a dict"),
        ([("image", PNG)], "of type list"),
        ("{}", "of type str"),
        ({"mime_type": "image/png"}, '"image" is missing'),
        (image_payload(image=None), '"image" is missing'),
        (image_payload(image=b""), '"image" is empty'),
        (image_payload(image=""), '"image" is empty'),
        (image_payload(image=bytearray()), '"image" is empty'),
        (image_payload(image=[1, 2]), "of type list"),
        (image_payload(image=7), "of type int"),
        ({"image": PNG}, '"mime_type" is missing'),
        (image_payload(mime_type=""), '"mime_type" is empty'),
        (image_payload(mime_type="  "), '"mime_type" is empty'),
        (image_payload(mime_type=None), '"mime_type" is missing'),
        (image_payload(mime_type=b"image/png"), '"mime_type" is of type bytes; give a string'),
        (image_payload(mime_type="png"), '"mime_type" is "png", which is no MIME type'),
        (image_payload(mime_type="image/*"), "which is no MIME type"),
        (image_payload(mime_type="image/png/x"), "which is no MIME type"),
        (image_payload(mime_type="image"), "which is no MIME type"),
        (image_payload(mime_type="image/\ud800"), '"image/\\ud800", which is no MIME type'),
        (image_payload(options={"x": float("nan")}), 'payload["options"]["x"]: nan'),
        (image_payload(options={"x": PNG}), 'payload["options"]["x"]: bytes is not JSON'),
        (image_payload(options=NESTED), "nested more than 100 deep"),
        (dict([*image_payload().items(), (5, 1)]), "the key 5 is of type int"),
    ],
)
def test_faulty_image_payload_is_refused_with_the_remedy(payload: object, words: str) -> None:
    """Each refusal is a ValidationError that says what is wrong."""
    assert words in refused(payload)


@pytest.mark.parametrize(
    "text",
    [
        "AAA",
        "A===",
        "=",
        "====",
        "AA=A",
        "AAAA=",
        "AAAA====",
        "AA==AA==",
        "AAAA AAAA",
        "AAAA\n",
        "AB==",
        "AAB=",
        "AA-_",
        "ÄAAA",
        "AAA\ud800",
        "AAA\x00",
    ],
)
def test_base64_that_is_not_strict_is_refused(text: str) -> None:
    """No white space, no other alphabet, no missing or extra padding, no spare bits."""
    assert "not strict base64" in refused(image_payload(image=text))


def test_data_url_is_refused_with_a_hint() -> None:
    """A browser's way to write an image is a common mistake."""
    assert "after its comma" in refused(image_payload(image="data:image/png;base64,AAAA"))


def test_released_memoryview_is_refused() -> None:
    """A view whose memory is gone blames the caller."""
    view = memoryview(PNG)
    view.release()
    assert "released" in refused(image_payload(image=view))


@given(st.binary(min_size=1))
def test_any_bytes_pass_as_base64(data: bytes) -> None:
    """What an encoder writes is always taken."""
    text = base64.b64encode(data).decode()
    assert validate_input_payload(image_payload(image=text)).image == data


@given(st.text(st.characters(codec=None), max_size=12) | st.text("AB=+/", max_size=9))
def test_text_taken_as_base64_is_the_only_text_for_its_bytes(text: str) -> None:
    """Two different texts never mean the same image."""
    try:
        checked = validate_input_payload(image_payload(image=text))
    except GovernedError:
        return
    assert base64.b64encode(checked.image or b"").decode() == text


@pytest.mark.parametrize(
    "mime_type", ["image/png", "IMAGE/PNG", "image/png; q=1", " Image/Png ;charset=x"]
)
def test_mime_type_matches_without_case_and_parameters(mime_type: str) -> None:
    """How a type is written does not matter, on either side."""
    check_accepts(mime_type, ("image/jpeg", "Image/PNG"), "ocr")


@pytest.mark.parametrize("mime_type", ["image/gif", "png", "image/png2", "image/*", ";image/png"])
def test_mime_type_outside_accepts_is_refused(mime_type: str) -> None:
    """The message lists what the plugin takes."""
    with pytest.raises(GovernedError, match="it takes: image/png, image/jpeg") as caught:
        check_accepts(mime_type, ("image/png", "image/jpeg"), "ocr")
    assert caught.value.error_type is ErrorType.VALIDATION_ERROR


def test_payload_over_its_size_is_refused_in_mib() -> None:
    """The message has both figures, the details the limit."""
    payload = Payload({}, bytes(3 * 1024 * 1024))
    with pytest.raises(GovernedError) as caught:
        check_size(payload, 1)
    assert caught.value.error_type is ErrorType.VALIDATION_ERROR
    assert caught.value.message == "the payload is 3.0 MiB, the plugin takes 1 MiB"
    limit = caught.value.details["limit"]
    assert limit == {"name": "payload_mb", "configured": 1, "observed": 3.0}


def test_size_counts_head_and_image_to_the_byte() -> None:
    """Exactly the limit passes, one byte more does not, and the message stays truthful."""
    check_size(Payload({}, bytes(1024 * 1024 - 2)), 1)
    with pytest.raises(GovernedError, match="is 1048577 bytes, the plugin takes 1 MiB"):
        check_size(Payload({}, bytes(1024 * 1024 - 1)), 1)
    with pytest.raises(GovernedError):
        check_size(validate_json_payload({"text": "é" * 1024 * 512}), 1)


def test_json_payload_may_be_any_strict_object() -> None:
    """Without a schema an empty object will do, and strictness still holds."""
    assert validate_json_payload({}).head == {}
    assert validate_json_payload({"a": [1, None]}) == Payload({"a": [1, None]})
    for payload, words in [
        ([], "of type list"),
        ({"a": float("inf")}, 'payload["a"]: inf'),
        ({"a": NESTED}, "nested more than 100"),
        (
            {"image": b"x"},
            "the plugin takes JSON, and no image: give what it asks for as its payload",
        ),
        ({"image": {"x": b"x"}}, 'payload["image"]["x"]: bytes is not JSON'),
    ]:
        with pytest.raises(GovernedError) as caught:
            validate_json_payload(payload)  # type: ignore[arg-type]  # callers give anything
        assert caught.value.error_type is ErrorType.VALIDATION_ERROR
        assert words in caught.value.message


@pytest.mark.parametrize("output", [{}, {"a": [1, 2.5, None, True, "é"]}, {"nested": {"b": []}}])
def test_strict_object_is_a_result(output: dict[str, Any]) -> None:
    """A dict of JSON values is returned as it is, an empty one too."""
    assert validate_plugin_output(output) == output


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (None, "returned None (perhaps a return is missing)"),
        ([1], "of type list"),
        ("text", "of type str"),
        (True, "of type bool"),
        ({"a": float("nan")}, 'result["a"]: nan'),
        ({"a": float("inf")}, 'result["a"]: inf'),
        ({1: 2}, "the key 1 is of type int"),
        ({"a": "\ud800"}, 'result["a"]: a lone surrogate'),
        ({"a": NESTED}, "nested more than 100 deep"),
        ({"a": {1, 2}}, 'result["a"]: set is not JSON'),
    ],
)
def test_anything_else_is_no_result(output: object, words: str) -> None:
    """None, other types and what strict JSON cannot carry blame the plugin."""
    with pytest.raises(GovernedError) as caught:
        validate_plugin_output(output)
    assert caught.value.error_type is ErrorType.OUTPUT_VALIDATION_ERROR
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        (b"", ErrorType.PROTOCOL_ERROR),
        (b"{", ErrorType.PROTOCOL_ERROR),
        (b"{}{}", ErrorType.PROTOCOL_ERROR),
        (b"\xff\x00", ErrorType.PROTOCOL_ERROR),
        (b"null", ErrorType.OUTPUT_VALIDATION_ERROR),
        (b"[]", ErrorType.OUTPUT_VALIDATION_ERROR),
        (b'{"a": NaN}', ErrorType.OUTPUT_VALIDATION_ERROR),
        (b'{"a": 1, "a": 2}', ErrorType.OUTPUT_VALIDATION_ERROR),
        (b'{"a": 1e999}', ErrorType.OUTPUT_VALIDATION_ERROR),
        (rb'{"a": "\ud800"}', ErrorType.OUTPUT_VALIDATION_ERROR),
        (b"[" * 1_000_000, ErrorType.OUTPUT_VALIDATION_ERROR),
    ],
)
def test_forged_reply_is_told_apart(body: bytes, error_type: ErrorType) -> None:
    """No JSON is a broken protocol; JSON that is not strict, or no object, a faulty output."""
    with pytest.raises(GovernedError) as caught:
        parse_result(body)
    assert caught.value.error_type is error_type


@given(st.binary(max_size=40))
def test_parsing_a_reply_is_total(body: bytes) -> None:
    """Whatever a plugin writes, the parent gets a dict or a governed error."""
    try:
        result = parse_result(body)
    except GovernedError:
        return
    assert isinstance(result, dict)


@pytest.mark.parametrize("size", [3 * 2**16 - 1, 3 * 2**16, 3 * 2**16 + 1, 10**6])
def test_large_base64_is_decoded_as_small(size: int) -> None:
    """Slice by slice, which nobody sees; padding may stand at the end alone."""
    image = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    text = base64.b64encode(image).decode()
    payload = validate_input_payload({"image": text, "mime_type": "image/png"})
    assert payload.image == image
    end = min(2**18, len(text) - 4)  # of a slice, or of what is not the last quantum
    for wrong in (text[: end - 1] + "=" + text[end:], text[:100] + "\n" + text[101:]):
        with pytest.raises(GovernedError, match="not strict base64"):
            validate_input_payload({"image": wrong, "mime_type": "image/png"})
