"""Analyze: what goes in, what comes out, and what a client that leaves takes with it."""

from __future__ import annotations

import base64
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.http.conftest import MakeSite, Site, detail_of, spin
from tests.conftest import WritePlugin

PNG = b"\x89PNG\r\n\x1a\n not really"


def test_json_in_json_out(site: Site) -> None:
    """A payload for a plugin that takes JSON."""
    response = site.post("/v1/analyze", {"plugin": "sample", "payload": {"n": [1, None, "ä"]}})
    assert response.status_code == 200
    assert response.json() == {"result": {"got": [1, None, "ä"]}, "plugin": "sample"}


def test_an_image_goes_in_as_base64_or_as_a_file(site: Site) -> None:
    """The plugin gets the same bytes, type and options."""
    expected = {
        "size": len(PNG),
        "first": "89504e47",
        "mime_type": "image/png",
        "options": {"a": 1},
    }
    fields = {"plugin": "looks", "mime_type": "image/png", "options": {"a": 1}}
    text = base64.b64encode(PNG).decode()
    as_json = site.post("/v1/analyze", {**fields, "image": text})
    form = {**fields, "options": json.dumps(fields["options"])}
    as_file = site.client.post("/v1/analyze", data=form, files={"image": ("a.png", PNG)})
    typed = site.client.post(
        "/v1/analyze",
        data={"plugin": "looks", "options": '{"a": 1}'},
        files={"image": ("a", PNG, "image/png")},
    )
    for response in (as_json, as_file, typed):
        assert response.status_code == 200, response.text
        assert response.json() == {"result": expected, "plugin": "looks"}


@pytest.mark.parametrize("label", ["application/octet-stream", "image/x-png", None])
def test_a_label_that_says_nothing_is_told_by_the_content(site: Site, label: str | None) -> None:
    """As everywhere: what curl calls a file that it does not know is no reason to refuse it."""
    text = base64.b64encode(PNG).decode()
    fields = {"plugin": "looks", "image": text, **({"mime_type": label} if label else {})}
    form: dict[str, Any] = {
        "data": {"plugin": "looks"},
        "files": {"image": ("a", PNG, label or "")},
    }
    for response in (site.post("/v1/analyze", fields), site.client.post("/v1/analyze", **form)):
        assert response.status_code == 200, response.text
        assert response.json()["result"]["mime_type"] == "image/png"
    for response in (site.post("/v1/jobs", fields), site.client.post("/v1/jobs", **form)):
        assert response.status_code == 202, response.text
        site.ended(response.json()["id"])
        result = site.get(f"/v1/jobs/{response.json()['id']}/result").json()["result"]
        assert result["mime_type"] == "image/png"


def test_a_large_file_arrives_whole(site: Site) -> None:
    """Beyond what a form keeps in memory."""
    image = PNG + bytes(3 << 20)
    response = site.client.post(
        "/v1/analyze",
        data={"plugin": "looks", "mime_type": "image/png"},
        files={"image": ("a.png", image)},
    )
    assert response.json()["result"]["size"] == len(image)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"fail": "invalid"}, "ValidationError"),
        ({"fail": "bug"}, "ExecutionError"),
        ({"fail": "crash"}, "PluginCrashed"),
    ],
)
def test_a_failed_call_is_400_with_its_error(
    site: Site, payload: dict[str, Any], kind: str
) -> None:
    """The public half of the envelope; the call's id is the request's."""
    response = site.post("/v1/analyze", {"plugin": "sample", "payload": payload})
    detail = detail_of(response, 400, kind)
    assert detail["plugin"] == "sample"
    assert detail["details"]["call_id"] == response.headers["x-request-id"]
    assert "/srv/secret" not in response.text


def test_the_hosts_own_faults_are_not_the_callers(make_site: MakeSite) -> None:
    """No place: 503, and when to come again."""
    site = make_site(max_concurrent=1, max_waiting=0)
    body = {"plugin": "sample", "payload": {"wait": True, "progress": 0.1}}
    with ThreadPoolExecutor(1) as pool, socket.create_connection(site.address[:2]) as holder:
        holder.sendall(request_of(body))
        spin(lambda: status_of(site)["in_flight"] == 1)
        response = pool.submit(
            site.post, "/v1/analyze", {"plugin": "sample", "payload": {}}
        ).result()
    detail_of(response, 503, "Overloaded")
    assert int(response.headers["retry-after"]) >= 1


def test_a_client_that_goes_away_kills_its_call(site: Site) -> None:
    """Nobody waits for the answer any more: the call ends, and is recorded as cancelled."""
    with socket.create_connection(site.address[:2]) as client:
        client.sendall(request_of({"plugin": "sample", "payload": {"wait": True, "progress": 0.1}}))
        spin(lambda: status_of(site)["in_flight"] == 1)
    spin(lambda: status_of(site)["in_flight"] == 0)
    spin(lambda: site.executed)  # who observes calls hears of its end a moment later
    assert [one.outcome for one in site.executed] == ["Cancelled"]


def test_requests_run_side_by_side(site: Site) -> None:
    """One that waits holds up no other: the event loop is free."""
    with socket.create_connection(site.address[:2]) as holder:
        holder.sendall(request_of({"plugin": "sample", "payload": {"wait": True}}))
        spin(lambda: status_of(site)["in_flight"] == 1)
        answer = site.post("/v1/analyze", {"plugin": "sample", "payload": {"n": 1}})
        assert answer.json()["result"] == {"got": 1}


BAD = {
    "not json": (b"{", "not JSON"),
    "not utf-8": (b'{"plugin": "\xff"}', "not UTF-8"),
    "an array": (b"[]", "JSON object"),
    "a duplicate key": (b'{"plugin": "sample", "plugin": "x"}', "plugin"),
    "not a number": (b'{"plugin": "sample", "payload": {"n": NaN}}', "NaN"),
    "too deep": (b'{"plugin": "sample", "payload": ' + b"[" * 200 + b"]" * 200 + b"}", "deep"),
    "no plugin": (b'{"payload": {}}', "plugin: name one"),
    "a plugin that is no name": (b'{"plugin": 5, "payload": {}}', "plugin: name one"),
    "no payload": (b'{"plugin": "sample"}', "give an image"),
    "both": (b'{"plugin": "sample", "payload": {}, "image": "eA=="}', "not both"),
    "a payload that is no object": (b'{"plugin": "sample", "payload": []}', "object"),
    "an unknown field": (b'{"plugin": "sample", "payloads": {}}', "did you mean payload"),
    "retries": (b'{"plugin": "sample", "payload": {}, "retries": 1}', "unknown field"),
    "bad base64": (b'{"plugin": "looks", "image": "%", "mime_type": "image/png"}', "base64"),
    "no image": (b'{"plugin": "looks", "image": "", "mime_type": "image/png"}', "empty"),
    "no type": (b'{"plugin": "looks", "image": "eA=="}', "mime_type"),
    "nothing": (b"", "not JSON"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_malformed_request_is_a_validation_error(site: Site, case: str) -> None:
    """It says what to do, and nothing is run."""
    body, words = BAD[case]
    detail = detail_of(site.post("/v1/analyze", body), 400, "ValidationError")
    assert words in detail["message"]
    assert all(one.outcome == "ValidationError" for one in site.executed)


FORMS: dict[str, tuple[dict[str, str], list[tuple[str, Any]], str]] = {
    "two files": (
        {"plugin": "looks"},
        [("image", ("a", PNG)), ("image", ("b", PNG))],
        "more than once",
    ),
    "an image that is no file": ({"plugin": "looks", "image": "x"}, [("x", (None, "y"))], "file"),
    "a plugin that is a file": ({}, [("plugin", ("a", b"looks"))], "file"),
    "an unknown field": (
        {"plugin": "looks", "mime": "x"},
        [("image", ("a", PNG))],
        "unknown field",
    ),
    "options that are no JSON": (
        {"plugin": "looks", "options": "{"},
        [("image", ("a", PNG, "image/png"))],
        "options: not JSON",
    ),
    "many fields": ({str(n): "x" for n in range(50)}, [("image", ("a", PNG))], "cannot be read"),
}


@pytest.mark.parametrize("case", FORMS)
def test_a_malformed_form_is_a_validation_error(site: Site, case: str) -> None:
    """As for JSON."""
    data, files, words = FORMS[case]
    response = site.client.post("/v1/analyze", data=data, files=files)
    assert words in detail_of(response, 400, "ValidationError")["message"]


def test_a_form_without_an_end_is_a_validation_error(site: Site) -> None:
    """Nothing hangs, and nothing is a bug."""
    for content in (b"", b"--x\r\n", b"garbage", b"--x\r\nContent-Disposition: nonsense\r\n\r\n"):
        response = site.client.post(
            "/v1/analyze",
            content=content,
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
        detail_of(response, 400, "ValidationError")
    response = site.client.post(
        "/v1/analyze", content=b"x", headers={"Content-Type": "multipart/form-data"}
    )
    detail_of(response, 400, "ValidationError")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_type_of_body_is_415(site: Site, media_type: str) -> None:
    """And it says what is read."""
    headers = {"Content-Type": media_type}
    response = site.client.post("/v1/analyze", content=b"plugin=x", headers=headers)
    detail = detail_of(response, 415, "UnsupportedMediaType")
    assert "application/json or multipart/form-data" in detail["message"]


@pytest.mark.parametrize("charset", ["undefined", "punycode", "utf-7", "latin-1", "\xff"])
def test_a_form_that_is_not_utf_8_is_415(site: Site, charset: str) -> None:
    """Python knows codecs that fail, and such as make what is no text."""
    answer = site.client.post(
        "/v1/analyze",
        content=b'--x\r\nContent-Disposition: form-data; name="plugin"\r\n\r\n+2AA-\r\n--x--\r\n',
        headers=[(b"Content-Type", f"multipart/form-data; boundary=x; charset={charset}".encode())],
    )
    assert "UTF-8" in detail_of(answer, 415, "UnsupportedMediaType")["message"]


def test_a_plugin_that_nobody_knows(site: Site) -> None:
    """It is the caller's fault, and the message helps."""
    response = site.post("/v1/analyze", {"plugin": "sampel", "payload": {}})
    assert "did you mean 'sample'" in detail_of(response, 400, "PluginNotFound")["message"]


def test_a_reason_tells_no_path(make_site: MakeSite, write_plugin: WritePlugin) -> None:
    """Where plugins lie on the host is nobody's business."""
    path = write_plugin("def run(payload): return {}")
    path.write_text(path.read_text().replace("input =", "inptu ="), encoding="utf-8")
    site = make_site(path)
    listed = site.get("/v1/plugins").text
    assert "inptu" in listed
    assert str(path.parent) not in listed
    [broken] = [one for one in json.loads(listed) if one["state"] == "UNAVAILABLE"]
    response = site.post("/v1/analyze", {"plugin": broken["name"], "payload": {}})
    detail_of(response, 400, "PluginUnavailable")
    assert str(path.parent) not in response.text


def request_of(body: object) -> bytes:
    """Return a request for analyze as bytes."""
    content = json.dumps(body).encode()
    head = (
        "POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def status_of(site: Site) -> dict[str, Any]:
    """Return how the plugin ``sample`` is."""
    found: dict[str, Any] = site.get("/v1/plugins/sample").json()
    return found
