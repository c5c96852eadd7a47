"""Requests that are odd but well-formed: what they get was decided, and is documented."""

from __future__ import annotations

import json

import pytest

from tests.api.http.conftest import MakeSite, Site, detail_of
from tests.conftest import WritePlugin

PATHS = ("/v1/jobs", "/v1/plugins", "/metrics", "/healthz", "/openapi.json", "/nothing")


_FOREIGN = [
    "evil.example",
    "localhost.evil.example",
    "localhost/.evil.example",
    "localhost#.evil.example",
    "localhost?.evil.example",
    "localhost:80/.evil.example",
    "evil@127.0.0.1",
    "evil:pass@localhost",
    "localhost\\.evil.example",
    "localhost,evil.example",
    "localhost:80:80",
    "localhost:http",
    "[127.0.0.1",
    "[",
    "1.2.3.4",
    "",
]


@pytest.mark.parametrize("host", _FOREIGN)
def test_a_name_that_is_not_the_servers_gets_nothing(site: Site, host: str) -> None:
    """Whatever it asks for, and by whatever method."""
    for path in PATHS:
        assert "allowed_hosts" in detail_of(site.get(path, Host=host), 403, "Forbidden")["message"]
    for method in ("POST", "DELETE", "OPTIONS"):
        response = site.client.request(method, "/v1/jobs", headers={"Host": host})
        detail_of(response, 403, "Forbidden")


def test_names_that_are_the_servers(make_site: MakeSite) -> None:
    """The loopback's, with a port or a dot or without, and those that are allowed."""
    site = make_site(allowed_hosts=("Tools.example",))
    for host in ("localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1", "[::1]:80", "127.9.9.9"):
        assert site.get("/v1/jobs", Host=host).status_code == 200
    assert site.get("/v1/jobs", Host="tools.EXAMPLE:80").status_code == 200
    # With keys it is the key that counts.
    closed = make_site(keys=True)
    assert closed.get("/healthz", Host="tools.example").status_code == 200


def test_events_that_are_over_are_204(site: Site) -> None:
    """An EventSource stops then; before, it gets what it has missed."""
    job_id = site.post("/v1/jobs", {"plugin": "sample", "payload": {"n": 1}}).json()["id"]
    site.ended(job_id)
    path = f"/v1/jobs/{job_id}/events"
    stream = site.get(path)
    assert stream.status_code == 200
    assert stream.headers["x-accel-buffering"] == "no"
    last = stream.text.rpartition("id: ")[2].partition("\n")[0]
    over = site.get(path, **{"Last-Event-ID": last})
    assert (over.status_code, over.content) == (204, b"")
    assert site.get(f"{path}?after={int(last) - 1}").status_code == 200


def test_a_forms_payload_may_be_large_and_other_text_not(site: Site) -> None:
    """As large as it could be in JSON."""
    payload = json.dumps({"n": 1, "more": "x" * (2 << 20)})
    form = {"plugin": (None, "sample"), "payload": (None, payload)}
    response = site.client.post("/v1/analyze", files=form)
    assert response.json()["result"] == {"got": 1}
    form = {"plugin": (None, "looks"), "options": (None, payload)}
    detail_of(site.client.post("/v1/analyze", files=form), 400, "ValidationError")


@pytest.mark.parametrize(
    ("name", "is_file", "said"),
    [
        ("picture", True, "-F files=@FILE"),
        ("imgae", False, "image"),
        ("files", False, "-F files=@FILE"),
        ("payload", True, "-F 'payload=<FILE'"),
    ],
)
def test_a_wrong_part_is_answered_with_what_to_write(
    site: Site, name: str, is_file: bool, said: str
) -> None:
    """As curl has it."""
    form = {"plugin": (None, "sample"), name: ("a.png" if is_file else None, "{}")}
    response = site.client.post("/v1/analyze", files=form)
    assert said in detail_of(response, 400, "ValidationError")["message"]


@pytest.mark.parametrize(("given", "wanted"), [("files", "image"), ("image", "files")])
def test_an_image_for_files_and_files_for_an_image(
    make_site: MakeSite, write_plugin: WritePlugin, given: str, wanted: str
) -> None:
    """Whoever takes one for the other hears which part the plugin wants."""
    site = make_site(write_plugin("def run(payload): return {}", name="taker", input=wanted))
    part = {given: ("a.png", b"\x89PNG", "image/png")}
    response = site.client.post("/v1/analyze", data={"plugin": "taker"}, files=part)
    message = detail_of(response, 400, "ValidationError")["message"]
    assert f"-F {wanted}=@FILE" in message
    assert f'"{wanted}" is missing' in message


@pytest.mark.parametrize("one", ["a.txt", {"name": "a"}, {"name": "a", "path": "/etc/passwd"}])
def test_what_json_says_of_files_is_told_in_its_words(site: Site, one: object) -> None:
    """A Path is Python's."""
    response = site.post("/v1/analyze", {"plugin": "sample", "files": [one]})
    message = detail_of(response, 400, "ValidationError")["message"]
    assert "base64" in message
    assert "ath" not in message


def test_an_encoded_body_is_415(site: Site) -> None:
    """With what may be sent instead; identity is no coding."""
    body = {"plugin": "sample", "payload": {}}
    for coding in ("gzip", "br", "identity, gzip", "x"):
        response = site.post("/v1/analyze", body, **{"Content-Encoding": coding})
        detail_of(response, 415, "UnsupportedMediaType")
        assert response.headers["accept-encoding"] == "identity"
    assert site.post("/v1/jobs", body, **{"Content-Encoding": " Identity"}).status_code == 202


def test_queries_that_say_two_things_are_400(site: Site) -> None:
    """And so is a page after a job that is gone."""
    twice = detail_of(site.get("/v1/jobs?limit=1&limit=2"), 400, "ValidationError")
    assert "more than once" in twice["message"]
    gone = detail_of(site.get(f"/v1/jobs?before={'0' * 32}"), 404, "NotFound")
    assert "no such job" in gone["message"]


def test_head_is_get_without_its_body(site: Site) -> None:
    """Wherever there is GET; of a stream it is the head alone, though the job goes on."""
    job_id = site.post("/v1/jobs", {"plugin": "sample", "payload": {"wait": True}}).json()["id"]
    job = f"/v1/jobs/{job_id}"
    paths = (
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/v1/plugins",
        "/v1/plugins/sample/health",
        job,
    )
    for path in (*paths, f"{job}/result", f"{job}/artifacts", "/v1/plugins/nobodys", "/nothing"):
        whole, head = site.get(path), site.client.head(path)
        assert (head.status_code, head.content) == (whole.status_code, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
    assert site.client.head("/v1/jobs?limit=x").status_code == 400
    stream = site.client.head(f"{job}/events")
    assert (stream.status_code, stream.content) == (200, b"")
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert site.job(job_id)["status"] in {"PENDING", "RUNNING"}
    assert site.client.delete(job).json()["status"] == "CANCELLED"


def test_options_says_what_there_is_and_allows_no_other_sites_page(site: Site) -> None:
    """There is no CORS here: a preflight is refused as any other method is."""
    asked = {"Access-Control-Request-Method": "GET", "Origin": "https://other.example"}
    response = site.client.options("/v1/jobs", headers=asked)
    detail_of(response, 405, "MethodNotAllowed")
    assert response.headers["allow"] == "GET, HEAD, POST"
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path", ["/v1%2Fplugins", "/v1/plugins%2fsample", "/v1/jobs/..%5c..%5cx", "/v1/plugins/%2F"]
)
def test_an_encoded_slash_is_in_no_path(site: Site, path: str) -> None:
    """Else a proxy that reads it otherwise would guard another place than this one."""
    detail = detail_of(site.get(path), 404, "NotFound")
    assert "encoded slash" in detail["message"]


def test_other_characters_may_be_encoded(site: Site) -> None:
    """It is the same name."""
    assert site.get("/v1/plugins/s%61mple").json()["name"] == "sample"


def test_slashes_too_many_are_another_place(site: Site) -> None:
    """Nothing is redirected: a body would be sent twice, or to nobody."""
    for path in ("/v1/plugins/", "//v1/plugins", "/v1//plugins", "/v1/plugins/sample/health/"):
        detail_of(site.get(path), 404, "NotFound")
    detail_of(site.post("/v1/analyze/", {}), 404, "NotFound")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/jobs?limt=3", "did you mean limit"),
        ("/v1/jobs?limit=", "limit"),
        ("/v1/jobs?status=DONE", "PENDING"),
        ("/v1/plugins?limit=3", "none is known here"),
        ("/metrics?x=1", "none is known here"),
    ],
)
def test_a_query_that_is_not_known_is_400(site: Site, path: str, said: str) -> None:
    """It says what is; but a probe's address may carry what its balancer puts there."""
    assert said in detail_of(site.get(path), 400, "ValidationError")["message"]
    for probe in ("/healthz", "/readyz", "/openapi.json"):
        assert site.get(f"{probe}?x=1&x=2").status_code == 200
