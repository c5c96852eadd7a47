"""The service behind the nginx of docs/deploy/proxies: nothing is held back, cut off or let in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.api.http.conftest import PATIENCE_SECONDS, MakeSite, Site, detail_of, spin
from toolrunner.runner.settings.settings import Settings

CONFIGURATION = Path(__file__).parents[3] / "docs/deploy/proxies/nginx.conf"
PROGRAM = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="nginx is not installed")


@contextmanager
def nginx(site: Site, folder: Path) -> Iterator[httpx.Client]:
    """Run the documented configuration in front of a server; yield a client of it.

    All that is changed: where it listens, which is a socket in the folder without TLS, and the
    address behind it.
    """
    text = CONFIGURATION.read_text(encoding="utf-8")
    for pattern, here in (
        ("listen 443 ssl;", f"listen unix:{folder}/socket;"),
        (r"ssl_certificate(_key)? .*;", ""),
        ("server 127.0.0.1:8000;", f"server 127.0.0.1:{site.address[1]};"),
    ):
        text, count = re.subn(pattern, here, text)
        assert count
    user = "user root;" if os.geteuid() == 0 else ""
    kept = "".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log stderr warn; events {{}}\n"
        f"http {{ access_log off; {kept}\n{text}\n}}\n",
        encoding="utf-8",
    )
    command = [str(PROGRAM), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    tried = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert (tried.returncode, "warn" in tried.stderr) == (0, False), tried.stderr
    with subprocess.Popen(command) as process:
        try:
            spin((folder / "socket").exists)
            transport = httpx.HTTPTransport(uds=str(folder / "socket"))
            base = "http://tools.example.org"
            with httpx.Client(
                transport=transport, base_url=base, timeout=PATIENCE_SECONDS
            ) as client:
                yield client
        finally:
            process.terminate()


def test_calls_and_streams_pass_through_nginx(make_site: MakeSite, tmp_path: Path) -> None:
    """An event is there while its job still runs; a large body comes whole; figures stay inside."""
    site = make_site(keys=True)
    assert site.doors.keys is not None
    header = {"X-API-Key": site.doors.keys.create("shop")[1]}
    with nginx(site, tmp_path) as client:
        client.headers.update(header)
        image = b"\x89PNG" + bytes(3 << 20)
        part = {"image": ("a.png", image, "image/png")}
        looked = client.post("/v1/analyze", data={"plugin": "looks"}, files=part)
        assert looked.json()["result"]["size"] == len(image)
        assert "x-request-id" in looked.headers

        body = {"plugin": "sample", "payload": {"progress": 0.5, "wait": True}}
        made = client.post("/v1/jobs", json=body)
        job = made.headers["location"]
        with client.stream("GET", f"{job}/events") as stream:
            lines = stream.iter_lines()
            assert any(line == "event: progress" for line in lines)
            # On another connection: this one is still open, and its job still runs.
            assert site.get(job, **header).json()["status"] == "RUNNING"
            site.client.delete(job, headers=header)
            assert any("CANCELLED" in line for line in lines)
        detail_of(client.get("/v1/jobs/nobodys"), 404, "NotFound")
        assert client.get("/metrics").headers["content-type"] == "text/html"


def test_a_body_may_be_as_large_to_nginx_as_to_the_server() -> None:
    """Its default of 1 MB would refuse most pictures."""
    [megabytes] = re.findall(r"client_max_body_size (\d+)m;", CONFIGURATION.read_text())
    assert int(megabytes) == Settings().max_body_mb
