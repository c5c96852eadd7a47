"""Artifacts over HTTP: beside the result, and each of a job's as a file that no browser runs."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.api.http.conftest import MakeSite, Response, Site, detail_of, spin
from tests.api.http.test_jobs import created
from tests.conftest import WritePlugin
from toolrunner.api.keys import KeyStore

MAKES = """
    import time

    def run(payload, context):
        made = {}
        for name, mime_type, size in payload.get("files", []):
            data = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
            made[name] = context.artifact(name, data, mime_type)
        while payload.get("wait"):
            time.sleep(0.01)
        if payload.get("fail"):
            raise ValueError("after all")
        return made
"""
PNG = ("picture.png", "image/png", 100_000)
TEXT = ("empty.txt", "text/plain", 0)


def content(size: int) -> bytes:
    """Return what the plugin makes of a size."""
    return bytes(range(256)) * (size // 256) + bytes(range(size % 256))


def told(name: str, mime_type: str, size: int) -> dict[str, Any]:
    """Return what is told of an artifact."""
    digest = hashlib.sha256(content(size)).hexdigest()
    return {"name": name, "mime_type": mime_type, "bytes": size, "sha256": digest}


def asking(*files: tuple[str, str, int], **more: object) -> dict[str, Any]:
    """Return a request for some files."""
    return {"plugin": "makes", "payload": {"files": files, **more}}


@pytest.fixture
def site(make_site: MakeSite, write_plugin: WritePlugin) -> Site:
    """A server with a plugin that makes what it is asked for."""
    return make_site(write_plugin(MAKES, name="makes"))


def job_with(site: Site, *files: tuple[str, str, int]) -> str:
    """Let a job make some files; return its address."""
    job_id = created(site, asking(*files))
    assert site.ended(job_id)["status"] == "SUCCESS"
    return f"/v1/jobs/{job_id}"


def test_who_waits_gets_them_beside_the_result(site: Site) -> None:
    """In base64, in the plugin's order, whatever their size; the length is announced."""
    files = [PNG, TEXT, *((f"{size}.bin", "x/y", size) for size in (1, 2, 3, 49151, 49153))]
    response = site.post("/v1/analyze", asking(*files))
    assert response.status_code == 200, response.text
    document = response.json()
    assert list(document) == ["result", "plugin", "artifacts"]
    assert document["result"]["picture.png"]["sha256"] == told(*PNG)["sha256"]
    assert len(document["artifacts"]) == len(files)
    for shown, (name, mime_type, size) in zip(document["artifacts"], files, strict=True):
        data = base64.b64decode(shown.pop("data"), validate=True)
        assert shown == told(name, mime_type, size)
        assert data == content(size)
    assert int(response.headers["content-length"]) == len(response.content)


def test_a_call_that_makes_none_answers_as_ever(site: Site) -> None:
    """Neither does one that fails after it has made some."""
    assert site.post("/v1/analyze", asking()).json() == {"result": {}, "plugin": "makes"}
    detail_of(site.post("/v1/analyze", asking(PNG, fail=True)), 400, "ExecutionError")


def test_a_job_lists_them_and_its_result_tells_of_them(site: Site) -> None:
    """Without their bytes: each has an address."""
    job = job_with(site, PNG, TEXT)
    listed = site.get(f"{job}/artifacts")
    assert listed.status_code == 200
    assert listed.json() == [told(*PNG), told(*TEXT)]
    result = site.get(f"{job}/result").json()
    assert result["artifacts"] == listed.json()
    none = job_with(site)
    assert site.get(f"{none}/artifacts").json() == []
    assert "artifacts" not in site.get(f"{none}/result").json()


def test_each_is_a_file_of_its_type(site: Site) -> None:
    """With its size, its name, and a tag that is its content's."""
    job = job_with(site, PNG, TEXT)
    for name, mime_type, size in (PNG, TEXT):
        response = site.get(f"{job}/artifacts/{name}")
        assert response.status_code == 200
        assert response.content == content(size)
        assert response.headers["content-type"] == mime_type
        assert response.headers["content-length"] == str(size)
        assert response.headers["etag"] == f'"{told(name, mime_type, size)["sha256"]}"'
        assert response.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("name", "mime_type", "served"),
    [
        ("page.html", "text/html", "text/html"),
        ("drawing.svg", "image/svg+xml", "image/svg+xml"),
        ("script.js", "text/javascript", "text/plain; charset=utf-8"),
        ("script.es", "application/x-ecmascript", "text/plain; charset=utf-8"),
        ("no-type", "x-odd/thing", "x-odd/thing"),
    ],
)
def test_no_browser_runs_one(site: Site, name: str, mime_type: str, served: str) -> None:
    """It is saved and not shown; as a page it has no scripts; and a script is no script here."""
    job = job_with(site, (name, mime_type, 10))
    for headers in ({}, {"Range": "bytes=0-3"}):
        response = site.get(f"{job}/artifacts/{name}", **headers)
        assert response.headers["content-type"] == served
        assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers.get_all("content-security-policy") == [
            "sandbox; default-src 'none'; frame-ancestors 'none'"
        ]
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert site.get(f"{job}/artifacts").json()[0]["mime_type"] == mime_type


def test_a_piece_of_one_can_be_had(site: Site) -> None:
    """As a player of videos asks; what cannot be understood is answered with everything."""
    url = f"{job_with(site, TEXT, PNG)}/artifacts/picture.png"
    size, data = PNG[2], content(PNG[2])
    for header, begin, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=1000-70000", 1000, 70_001),
        ("bytes=99990-", 99_990, size),
        ("bytes=-7", size - 7, size),
    ):
        response = site.get(url, Range=header)
        assert response.status_code == 206
        assert response.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
        assert response.headers["content-length"] == str(end - begin)
        assert response.content == data[begin:end]
    tag = site.get(url).headers["etag"]
    assert site.get(url, **{"Range": "bytes=0-3", "If-Range": tag}).status_code == 206
    for headers in (
        {"Range": "bytes=0-3", "If-Range": '"another"'},
        {"Range": "bytes=0-1,4-5"},
        {"Range": "nonsense"},
    ):
        whole = site.get(url, **headers)
        assert (whole.status_code, whole.content) == (200, data)


def test_a_piece_beyond_the_end_is_416(site: Site) -> None:
    """In the one shape of errors, with the size."""
    job = job_with(site, PNG, TEXT)
    for name, size in ((PNG[0], PNG[2]), (TEXT[0], 0)):
        response = site.get(f"{job}/artifacts/{name}", Range=f"bytes={size}-")
        detail_of(response, 416, "RangeNotSatisfiable")
        assert response.headers["content-range"] == f"bytes */{size}"


def test_who_has_it_already_gets_nothing_new(site: Site) -> None:
    """304 to the tag; it may be kept, by that client alone, if it asks each time."""
    url = f"{job_with(site, PNG)}/artifacts/picture.png"
    first = site.get(url)
    assert first.headers["cache-control"] == "private, no-cache"
    again = site.get(url, **{"If-None-Match": first.headers["etag"], "Range": "bytes=0-1"})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("etag", "cache-control", "vary"):
        assert again.headers[name] == first.headers[name]
    assert site.get(url, **{"If-None-Match": '"another"'}).status_code == 200


def test_head_tells_of_it_without_sending_it(site: Site) -> None:
    """The same headers, and no ranges."""
    url = f"{job_with(site, PNG)}/artifacts/picture.png"
    whole, head = site.get(url), site.client.head(url, headers={"Range": "bytes=0-1"})
    assert (head.status_code, head.content) == (200, b"")
    varying = {"x-request-id", "date", "connection"}
    for name, value in whole.headers.items():
        assert name.lower() in varying or head.headers[name] == value
    assert site.client.post(url).headers["allow"] == "GET, HEAD"


def test_there_is_nothing_by_another_name(site: Site) -> None:
    """404, and no path leads out of the job."""
    job = job_with(site, PNG)
    detail = detail_of(site.get(f"{job}/artifacts/picture"), 404, "NotFound")
    assert f"{job}/artifacts" in detail["message"]
    for name in ("..", "%2e%2e", "..%2f..%2fjobs.sqlite3", "%00", "picture.png/", "a" * 5000):
        response = site.get(f"{job}/artifacts/{name}")
        if response.status_code != 400:  # what the server does not even read as a path
            detail_of(response, 404, "NotFound")


def test_what_has_not_ended_or_failed_has_none(site: Site) -> None:
    """As its result: 409 until it ends, and then its error."""
    job_id = created(site, asking(PNG, wait=True))
    spin(lambda: site.job(job_id)["status"] == "RUNNING")
    paths = [f"/v1/jobs/{job_id}/artifacts", f"/v1/jobs/{job_id}/artifacts/picture.png"]
    for path in paths:
        detail_of(site.get(path), 409, "Conflict")
    site.client.delete(f"/v1/jobs/{job_id}")
    for path in paths:
        detail_of(site.get(path), 400, "Cancelled")
    failed = created(site, asking(PNG, fail=True))
    site.ended(failed)
    for path in ("/artifacts", "/artifacts/picture.png"):
        detail_of(site.get(f"/v1/jobs/{failed}{path}"), 400, "ExecutionError")
    for path in ("/artifacts", "/artifacts/x"):
        detail_of(site.get("/v1/jobs/" + "0" * 32 + path), 404, "NotFound")


def test_a_key_sees_its_own_alone(make_site: MakeSite, write_plugin: WritePlugin) -> None:
    """Those of another key are not there, whatever it knows of them."""
    site = make_site(write_plugin(MAKES, name="makes"), keys=True)
    with closing(KeyStore(site.folder)) as store:
        (_, mine), (_, other) = store.create("mine"), store.create("other")
    job_id = created(site, asking(PNG), **{"X-API-Key": mine})
    url = f"/v1/jobs/{job_id}"
    spin(lambda: site.get(url, **{"X-API-Key": mine}).json()["ended_at"])
    tag = site.get(f"{url}/artifacts/picture.png", **{"X-API-Key": mine}).headers["etag"]
    for path in ("/artifacts", "/artifacts/picture.png"):
        assert site.get(url + path, **{"X-API-Key": mine}).status_code == 200
        headers = {"If-None-Match": tag, "Range": "bytes=0-1"}
        detail_of(site.get(url + path, **{"X-API-Key": other}, **headers), 404, "NotFound")
        detail_of(site.get(url + path), 401, "Unauthorized")


def test_names_and_sizes_are_audited_and_nothing_else(site: Site) -> None:
    """Of those that came with an answer, and of each that was fetched."""
    site.post("/v1/analyze", asking(PNG, TEXT))
    site.post("/v1/analyze", asking())
    url = f"{job_with(site, PNG)}/artifacts"
    for path, headers in (
        (url, {}),
        (f"{url}/picture.png", {}),
        (f"{url}/picture.png", {"If-None-Match": "*"}),
    ):
        fetched: Response = site.get(path, **headers)
        assert fetched.status_code in {200, 304}
    analyzed, without, _left, sent = site.audited()
    picture = {"name": "picture.png", "bytes": PNG[2]}
    assert analyzed["artifacts"] == [picture, {"name": "empty.txt", "bytes": 0}]
    assert "artifacts" not in without
    assert (sent["route"], sent["plugin"]) == (f"GET {url}/picture.png", "makes")
    assert sent["artifacts"] == [picture]
    assert told(*PNG)["sha256"] not in (site.folder / "audit.log").read_text()


def test_a_client_that_leaves_midway_leaves_nothing_open(site: Site) -> None:
    """Its file is closed; the next one is served."""
    url = f"{job_with(site, ('large.bin', 'x/y', 24 << 20))}/artifacts/large.bin"
    for _ in range(3):
        with socket.create_connection(site.address[:2]) as client:
            client.sendall(f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert client.recv(100)
    kept = str(site.folder / "artifacts")
    spin(lambda: not any(path.startswith(kept) for path in open_files()))
    assert len(site.get(url).content) == 24 << 20


def open_files() -> list[str]:
    """Return the paths of all files that this process has open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.readlink(entry))
        except OSError:
            continue
    return found
