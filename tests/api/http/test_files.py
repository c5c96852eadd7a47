"""Files over HTTP: as parts of a form or in base64, of a call that is waited for and of a job."""

from __future__ import annotations

import asyncio
import base64
import gc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.api.http.conftest import MakeSite, Site, detail_of, spin
from tests.conftest import WritePlugin
from toolrunner.api.http import bodies
from toolrunner.runner.payloads.files import validate_files_payload
from toolrunner.runner.payloads.validation import Payload

READS = """
    import hashlib

    def run(payload):
        found = []
        for file in payload["files"]:
            with open(file["path"], "rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            found.append([file["name"], file["mime_type"], file["bytes"], digest])
        return {"files": found, "options": payload.get("options")}
"""
LARGE = os.urandom(1 << 16) * 48  # 3 MB: more than a form keeps in memory


def told(name: str, mime_type: str, data: bytes) -> list[Any]:
    """Return what the plugin says of a file."""
    import hashlib

    return [name, mime_type, len(data), hashlib.sha256(data).hexdigest()]


@pytest.fixture
def site(make_site: MakeSite, write_plugin: WritePlugin) -> Site:
    """A server with a plugin that takes files, and one that takes JSON."""
    return make_site(
        write_plugin(READS, name="reads", input="files", limits="{ payload_mb = 8 }"),
        write_plugin("def run(payload): return payload"),
    )


def test_several_files_of_a_form(site: Site) -> None:
    """As many parts as there are, by either name, with options beside them."""
    response = site.client.post(
        "/v1/analyze",
        data={"plugin": "reads", "options": '{"a": 1}'},
        files=[
            ("files", ("report one.pdf", b"one", "application/pdf")),
            ("files", ("table.csv", b"", "application/octet-stream")),
            ("file", ("large.bin", LARGE)),
        ],
    )
    assert response.status_code == 200, response.text
    assert response.json()["result"] == {
        "files": [
            told("report one.pdf", "application/pdf", b"one"),
            told("table.csv", "text/csv", b""),
            told("large.bin", "application/octet-stream", LARGE),
        ],
        "options": {"a": 1},
    }


@pytest.mark.parametrize("nested", [False, True])
def test_files_in_json(site: Site, nested: bool) -> None:
    """In base64, beside the plugin's name or in the payload."""
    files = [{"name": "a.txt", "data": base64.b64encode(b"one").decode()}]
    body = {"payload": {"files": files}} if nested else {"files": files}
    response = site.post("/v1/analyze", {"plugin": "reads", **body})
    assert response.json()["result"]["files"] == [told("a.txt", "text/plain", b"one")]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("route", ["analyze", "jobs"])
def test_no_request_can_name_a_file_of_the_host(site: Site, nested: bool, route: str) -> None:
    """Whatever it is called."""
    for entry in (
        {"path": "/etc/hostname"},
        {"name": "a", "path": "/etc/hostname"},
        "/etc/hostname",
    ):
        files = {"files": [entry]}
        body = {"payload": files} if nested else files
        response = site.post(f"/v1/{route}", {"plugin": "reads", **body})
        if response.status_code == 202:
            job = site.ended(response.json()["id"])
            assert job["error"]["type"] == "ValidationError"
        else:
            detail_of(response, 400, "ValidationError")


REFUSED = {
    "a path": ("files", "../a", b"x"),
    "hidden": ("files", ".a", b"x"),
    "nothing": ("files", "", b"x"),
    "what nobody can see": ("files", "a\u200bb", b"x"),
    "long": ("files", "a" * 201, b"x"),
    "too large": ("files", "a", bytes(9 << 20)),
    "another field": ("other", "a", b"x"),
    "an image": ("image", "a", b"x"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(site: Site, case: str) -> None:
    """By words, and nothing has run."""
    field, name, data = REFUSED[case]
    files = [("files", ("fine.txt", b"x")), (field, (name, data))]
    response = site.client.post("/v1/analyze", data={"plugin": "reads"}, files=files)
    detail_of(response, 400, "ValidationError")


def test_two_files_of_one_name_are_refused(site: Site) -> None:
    """Each has to have a place of its own."""
    files = [("files", ("a.txt", b"x")), ("files", ("a.txt", b"y"))]
    response = site.client.post("/v1/analyze", data={"plugin": "reads"}, files=files)
    message = detail_of(response, 400, "ValidationError")["message"]
    assert 'two files with the name "a.txt"' in message


def test_a_plugin_of_another_kind_says_what_it_takes(site: Site) -> None:
    """Files for a plugin that takes JSON are no JSON."""
    response = site.client.post(
        "/v1/analyze", data={"plugin": "sample"}, files=[("files", ("a.txt", b"x"))]
    )
    detail_of(response, 400, "ValidationError")


@pytest.mark.parametrize("route", ["analyze", "jobs"])
@pytest.mark.parametrize("cut", [4, 5, 9, 11, 30], ids=lambda cut: f"{cut} bytes")
def test_a_form_that_was_cut_off_is_refused(site: Site, route: str, cut: int) -> None:
    """Its last part may be there by half, or not at all; and nothing of it stays open."""
    part = "--BB\r\nContent-Disposition: form-data; name={}\r\n\r\n{}\r\n"
    files = [part.format(f'"files"; filename="{name}"', "x" * 20) for name in "ab"]
    whole = "".join([part.format('"plugin"', "reads"), *files, "--BB--\r\n"]).encode()
    form = {"Content-Type": "multipart/form-data; boundary=BB"}
    before = unnamed()
    detail = detail_of(site.post(f"/v1/{route}", whole[:-cut], **form), 400, "ValidationError")
    assert "the form ends before its last boundary" in detail["message"]
    spin(lambda: unnamed() <= before)
    for end in (whole, whole[:-2], whole + b"an epilogue"):
        assert site.post(f"/v1/{route}", end, **form).status_code in {200, 202}


@pytest.mark.parametrize("is_form", [True, False])
def test_what_a_job_is_given_is_looked_at_where_it_holds_up_nobody(
    site: Site, monkeypatch: pytest.MonkeyPatch, is_form: bool
) -> None:
    """All of its base64 is decoded, and what a form has in memory goes to the disk."""
    threads = []

    def watched(payload: Mapping[str, Any]) -> Payload:
        threads.append(asyncio._get_running_loop())
        return validate_files_payload(payload)

    monkeypatch.setattr(bodies, "validate_files_payload", watched)
    if is_form:
        files = [("files", ("a.txt", b"x"))]
        status = site.client.post("/v1/jobs", data={"plugin": "reads"}, files=files).status_code
    else:
        document = {"plugin": "reads", "files": [{"name": "a.txt", "data": "eA=="}]}
        status = site.post("/v1/jobs", document).status_code
    assert status == 202
    assert threads == [None]


def unnamed() -> set[str]:
    """Return the files without a name that this process has open."""
    links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    return {target for target in links if target.endswith("(deleted)")}


def test_nothing_of_an_upload_stays_open(site: Site) -> None:
    """Neither after an answer nor after a refusal."""
    before = unnamed()
    gc.disable()
    try:
        for plugin in ("reads", "nobody"):
            files = [("files", (f"{number}.bin", LARGE)) for number in range(2)]
            site.client.post("/v1/analyze", data={"plugin": plugin}, files=files)
        spin(lambda: unnamed() <= before)
    finally:
        gc.enable()


def test_a_job_keeps_its_files_until_it_has_ended(site: Site) -> None:
    """They lie beside its payload, and go with it."""
    payloads = site.folder / "payloads"
    response = site.client.post(
        "/v1/jobs",
        data={"plugin": "reads", "options": '{"a": 1}'},
        files=[("files", ("one.txt", b"one")), ("files", ("large.bin", LARGE))],
    )
    assert response.status_code == 202, response.text
    job_id = response.json()["id"]
    assert site.ended(job_id)["status"] == "SUCCESS"
    assert site.get(f"/v1/jobs/{job_id}/result").json()["result"] == {
        "files": [
            told("one.txt", "text/plain", b"one"),
            told("large.bin", "application/octet-stream", LARGE),
        ],
        "options": {"a": 1},
    }
    spin(lambda: not list(payloads.iterdir()))


def test_a_repeated_job_is_known_by_what_its_files_hold(site: Site) -> None:
    """The same bytes are the same request; others are another one."""

    def post(data: bytes) -> Any:
        return site.client.post(
            "/v1/jobs",
            data={"plugin": "reads"},
            files=[("files", ("one.bin", data))],
            headers={"Idempotency-Key": "k"},
        )

    first = post(LARGE)
    assert first.status_code == 202
    assert post(LARGE).json()["id"] == first.json()["id"]
    detail_of(post(LARGE[::-1]), 409, "Conflict")
    site.ended(first.json()["id"])
    spin(lambda: not list((site.folder / "payloads").iterdir()))


def test_a_job_that_could_never_run_is_refused_at_once(site: Site) -> None:
    """Nobody has to wait for its turn to hear that."""
    files = [("files", ("../one.txt", b"x"))]
    response = site.client.post("/v1/jobs", data={"plugin": "reads"}, files=files)
    detail_of(response, 400, "ValidationError")
    assert list((site.folder / "payloads").iterdir()) == []
