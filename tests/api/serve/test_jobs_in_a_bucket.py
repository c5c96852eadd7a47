"""A real server whose jobs have their payloads, results and artifacts in a bucket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import Cli, common_environment
from tests.api.serve.conftest import Serve
from tests.buckets import KEYS, SECRET, Door, bucket, s3_address, s3_keys
from tests.conftest import WritePlugin
from tests.sandbox.boxes import wait_until

__all__ = ["bucket", "s3_address", "s3_keys"]

PLUGIN = """
    def run(payload, context):
        data = b"".join(open(file["path"], "rb").read() for file in payload["files"])
        context.artifact("all.bin", data, "application/octet-stream")
        return {"bytes": len(data)}
"""
DATA = bytes(range(256)) * 8192


@pytest.fixture
def door(s3_address: str) -> Iterator[Door]:
    """A way to the server of buckets."""
    made = Door(s3_address)
    made.open()
    yield made
    made.close()


def test_a_job_goes_through_a_bucket(
    serve: Serve,
    write_plugin: WritePlugin,
    bucket: str,
    s3_address: str,
    door: Door,
    tmp_path: Path,
    cli: Cli,
) -> None:
    """Its files, its result and a range of its artifact; while that is away, /readyz says so."""
    place = bucket.replace(s3_address, door.address)
    plugin = write_plugin(PLUGIN, input="files")
    server = serve("--workers", "2", "--plugins", plugin, TOOLRUNNER_BLOBS=place, **KEYS)
    address = server.ready()
    form = {"plugin": "sample"}
    files = [("files", ("a", DATA)), ("files", ("b", b"end"))]
    answer = httpx.post(f"{address}/v1/jobs", data=form, files=files, timeout=120)
    assert answer.status_code == 202, answer.text
    job = f"{address}{answer.headers['location']}"
    wait_until(lambda: httpx.get(job).json()["status"] == "SUCCESS", "the end of the job")
    assert httpx.get(f"{job}/result").json()["result"] == {"bytes": len(DATA) + 3}
    artifact = httpx.get(f"{job}/artifacts/all.bin", timeout=120)
    assert artifact.content == DATA + b"end"
    piece = httpx.get(f"{job}/artifacts/all.bin", headers={"Range": "bytes=1000000-1000009"})
    assert (piece.status_code, piece.content) == (206, DATA[1_000_000:1_000_010])
    state = tmp_path / "state"
    assert not {"payloads", "results", "artifacts"} & set(os.listdir(state))
    assert httpx.get(f"{address}/readyz").json()["status"] == "ready"

    door.close()
    ready = httpx.get(f"{address}/readyz", timeout=120)
    assert ready.status_code == 503
    [reason] = ready.json()["reasons"]
    assert reason.startswith("the job store: ")
    assert "cannot be used now (no answer): start it, or mend the way there" in reason
    answer = httpx.post(f"{address}/v1/jobs", data=form, files=files, timeout=120)
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    assert httpx.get(f"{job}/result", timeout=120).status_code == 503
    waited = httpx.post(f"{address}/v1/analyze", data=form, files=files, timeout=120)
    assert waited.json()["result"] == {"bytes": len(DATA) + 3}

    door.open()
    wait_until(lambda: httpx.get(f"{address}/readyz", timeout=120).status_code == 200, "readiness")
    job_id = job.rpartition("/")[2]
    shown = cli(
        "--state", state, "jobs", "result", job_id, "--json", TOOLRUNNER_BLOBS=place, **KEYS
    )
    assert shown.documents[0]["result"] == {"bytes": len(DATA) + 3}
    settings = cli("config", "show", TOOLRUNNER_BLOBS=place, **KEYS)
    assert place in settings.out
    assert server.end() == 0
    assert SECRET not in server.log + settings.out + settings.err


def test_what_cannot_be_a_place_is_said_at_the_start(cli: Cli, tmp_path: Path) -> None:
    """A scheme that is none, what is not installed, and an endpoint that is none."""
    ended = cli("serve", "--port", "0", TOOLRUNNER_BLOBS="ftp://somewhere")
    assert ended.status == 2
    assert 'blobs: must be s3://bucket/prefix, or file:///srv/toolrunner-blobs; ""' in ended.err
    wanted = {"TOOLRUNNER_BLOBS": "s3://bucket/prefix", "AWS_ENDPOINT_URL": "minio:9000"}
    ended = cli("serve", "--port", "0", **wanted)
    assert ended.status == 2
    assert "blobs: AWS_ENDPOINT_URL must name its endpoint by a URL, such as" in ended.err
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'obstore' else real(name, *a)\n"
    )
    path = f"{hidden}:{common_environment()['PYTHONPATH']}"
    ended = cli("serve", "--port", "0", PYTHONPATH=path, TOOLRUNNER_BLOBS="s3://bucket/prefix")
    assert ended.status == 2
    assert 'pip install "toolrunner-sandbox[cluster]"' in " ".join(ended.err.split())
