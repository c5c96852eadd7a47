"""The OpenAPI document: every route, with examples that fit and work."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.api.http.conftest import MakeSite, Site

OPERATIONS = (
    "POST /v1/analyze",
    "POST /v1/jobs",
    "GET /v1/jobs",
    "GET /v1/jobs/{job_id}",
    "DELETE /v1/jobs/{job_id}",
    "GET /v1/jobs/{job_id}/result",
    "GET /v1/jobs/{job_id}/artifacts",
    "GET /v1/jobs/{job_id}/artifacts/{name}",
    "GET /v1/jobs/{job_id}/events",
    "POST /v1/jobs/{job_id}/retry",
    "GET /v1/plugins",
    "GET /v1/plugins/{name}",
    "GET /v1/plugins/{name}/health",
    "POST /v1/plugins/{name}/suspend",
    "POST /v1/plugins/{name}/resume",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "POST /v1/reload",
    "GET /v1/audit",
)


def test_the_document_has_every_route_with_examples(site: Site) -> None:
    """Each with its errors, all of one shape, and with examples that fit."""
    document = site.get("/openapi.json").json()
    found = {
        f"{method.upper()} {path}"
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert found == set(OPERATIONS)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"]
            if path.startswith("/v1"):
                assert {"400", "500"} <= operation["responses"].keys()
            for status, response in operation["responses"].items():
                for content in response["content"].values():
                    if "example" in content:
                        check_example(document, content["schema"], content["example"])
                    elif status not in {"200", "206"}:
                        pytest.fail(f"{path} {status} has no example")
            body = operation.get("requestBody", {}).get("content", {})
            for content in body.values():
                for example in content.get("examples", {}).values():
                    check_example(document, content["schema"], example["value"])


def test_the_document_is_whole(site: Site) -> None:
    """Each reference leads somewhere, and an example blames whom its type blames."""
    document = site.get("/openapi.json").json()
    references = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document))
    assert set(references) == document["components"]["schemas"].keys()
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                for content in response["content"].values():
                    detail = content.get("example", {})
                    if "detail" in detail and status in {"500", "503"}:
                        assert detail["detail"]["details"]["blame"] == "host"


def test_the_examples_work(site: Site) -> None:
    """Whoever tries what the document shows gets a result."""
    document = site.get("/openapi.json").json()
    body = document["paths"]["/v1/analyze"]["post"]["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        response = site.post("/v1/analyze", example["value"])
        assert response.status_code == 200, response.text


def test_plugins_are_named_to_those_who_may_see_them(make_site: MakeSite) -> None:
    """Without keys to everybody; with keys the open document says nothing of them."""
    schemas = make_site().get("/openapi.json").json()["components"]["schemas"]
    assert "sample" in schemas["PluginName"]["enum"]
    closed = make_site(keys=True).get("/openapi.json").json()
    assert "sample" not in json.dumps(closed)
    for path, operations in closed["paths"].items():
        for operation in operations.values():
            is_open = path in {"/healthz", "/readyz"}
            assert bool(operation["security"]) is not is_open
            assert ("401" in operation["responses"]) is not is_open


def check_example(document: dict[str, Any], schema: dict[str, Any], example: object) -> None:
    """Assert that an example is what its schema says."""
    Draft202012Validator({**schema, "components": document["components"]}).validate(example)
