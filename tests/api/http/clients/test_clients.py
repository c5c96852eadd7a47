"""The OpenAPI document as other people's programs read it, and the clients that they make of it."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.api.http.conftest import MakeSite, Site
from tests.clients_environment import LOCKS, Tool, missing_environment

IMAGE = b"\x89PNG is what looks tells of"
GOT = {
    "seen": {
        "size": len(IMAGE),
        "first": IMAGE[:4].hex(),
        "mime_type": "image/png",
        "options": None,
    },
    "refused": "PluginNotFound",
    "status": "SUCCESS",
    "result": {"got": 7},
}


def test_a_missing_environment_says_how_to_get_it(tmp_path: Path) -> None:
    """And so does one of other locks than these."""
    assert "scripts/clients" in missing_environment(tmp_path)
    (tmp_path / ".installed").write_text("older\n", encoding="utf-8")
    assert "is not as its locks say" in missing_environment(tmp_path)
    now = "".join(lock.read_text(encoding="utf-8") for lock in LOCKS)
    (tmp_path / ".installed").write_text(f"{now}/usr/bin/python3\n", encoding="utf-8")
    assert missing_environment(tmp_path) == ""


@pytest.mark.parametrize("keys", [False, True], ids=["open", "keys"])
def test_the_document_is_valid_to_those_who_read_it(
    make_site: MakeSite, tmp_path: Path, tool: Tool, *, keys: bool
) -> None:
    """With and without keys: to openapi-spec-validator, and to redocly without a warning."""
    document = written_document(make_site(keys=keys), tmp_path)
    tool("openapi-spec-validator", document)
    lint = tool("redocly", "lint", "--extends", "recommended", "--format", "json", document)
    assert json.loads(lint)["problems"] == []


def test_a_client_of_openapi_python_client_follows_a_job(
    make_site: MakeSite, tmp_path: Path, tool: Tool
) -> None:
    """It analyzes an image, is refused with an error of its own type, and has a job done."""
    site = make_site(keys=True)
    document = written_document(site, tmp_path)
    generated = tmp_path / "toolrunner_client"
    words = ("generate", "--path", document, "--output-path", generated, "--meta", "none")
    tool("openapi-python-client", *words, "--fail-on-warning")
    (tmp_path / "image.png").write_bytes(IMAGE)
    shutil.copy(Path(__file__).with_name("follow.py"), tmp_path)
    got = tool("python", "follow.py", *address_and_key(site), "image.png")
    check(got)


def test_a_client_of_openapi_typescript_follows_a_job(
    make_site: MakeSite, tmp_path: Path, tool: Tool
) -> None:
    """The same with openapi-fetch; the compiler finds nothing in it that the document forbids."""
    site = make_site(keys=True)
    document = written_document(site, tmp_path)
    tool("openapi-typescript", document, "--output", "schema.ts")
    shutil.copy(Path(__file__).with_name("follow.mts"), tmp_path)
    strict = ("--strict", "--noEmit", "--skipLibCheck", "--allowImportingTsExtensions")
    modern = ("--target", "es2023", "--lib", "es2023,dom,dom.iterable", "--module", "nodenext")
    tool("tsc", *strict, *modern, "follow.mts")
    got = tool("node", "follow.mts", *address_and_key(site), base64.b64encode(IMAGE).decode())
    check(got)


def written_document(site: Site, folder: Path) -> Path:
    """Write down what a server says of itself."""
    path = folder / "openapi.json"
    path.write_text(site.get("/openapi.json").text, encoding="utf-8")
    return path


def address_and_key(site: Site) -> tuple[str, str]:
    """Return where the server is, and a new key."""
    assert site.doors.keys is not None
    return f"http://127.0.0.1:{site.address[1]}", site.doors.keys.create("shop")[1]


def check(printed: str) -> None:
    """Assert that a client has got what there was."""
    got: dict[str, Any] = json.loads(printed)
    events = got.pop("events")
    assert got == GOT
    assert events[0] == events[-1] == "event: status"
    assert "event: progress" in events
