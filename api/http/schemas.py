"""What the API reads and answers, as OpenAPI describes it. Nothing is parsed here.

Requests are read by ``bodies``, strictly; answers are made by the routes. The tests hold both
against these schemas.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from toolrunner.api.http.bodies import MOST_RETRIES
from toolrunner.api.http.errors import STATUS, HttpError
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.jobs.job import JobStatus
from toolrunner.runner.payloads.files import MOST_FILES
from toolrunner.runner.registry.registry import PluginState

Schema = dict[str, Any]

_TIME: Schema = {"type": "string", "format": "date-time"}
_MAYBE_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
_MAYBE_NUMBER: Schema = {"type": ["number", "null"], "minimum": 0}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_ID_EXAMPLE = "5c8718597b2e4b1e8bb4530624b1ea06"
_TIME_EXAMPLE = "2026-01-31T12:00:00.000Z"


def _object(properties: dict[str, Schema], *, required: list[str] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


_PLUGIN_NAME: Schema = {"$ref": "#/components/schemas/PluginName"}
_OPTIONS: Schema = {"type": "object", "description": "Passed to the plugin as they are."}
_MIME_PART = "[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,63}"
_MIME_TYPE: Schema = {
    "type": "string",
    "pattern": rf"^ *{_MIME_PART}/{_MIME_PART} *(;.*)?$",
    "examples": ["image/png"],
}
_RETRIES: Schema = {
    "type": "integer",
    "minimum": 0,
    "maximum": MOST_RETRIES,
    "default": 0,
    "description": "How often the job may be run again after the server that ran it has died.",
}
_BASE64: Schema = {
    "type": "string",
    "minLength": 4,
    "contentEncoding": "base64",
    "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$",
    "description": "The image in standard base64, padded, without line breaks.",
}
_FILES: Schema = {
    "type": "array",
    "minItems": 1,
    "maxItems": MOST_FILES,
    "items": _object(
        {
            "name": {
                "type": "string",
                "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
                "description": "One of its own for each file. Other characters may be in it too.",
            },
            "mime_type": _MIME_TYPE,
            "data": {**_BASE64, "description": "The file in standard base64."},
        },
        required=["name", "data"],
    ),
}
# A form with them has a shape of its own, and tools look for files in one shape alone.
_FILES_OF_A_FORM = (
    "For a plugin that takes files, send parts `files` instead of `image` and `mime_type`: as many "
    "as there are, each with a file name of its own."
)

_ERROR: Schema = _object(
    {
        "detail": _object(
            {
                "type": {"type": "string", "enum": [*ErrorType, *HttpError]},
                "message": {"type": "string"},
                "details": {"type": "object"},
                "plugin": {"type": ["string", "null"]},
                "timestamp": _TIME,
            }
        )
    }
)
_ARTIFACT: Schema = _object(
    {
        "name": {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"},
        "mime_type": {"type": "string"},
        "bytes": _COUNT,
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    }
)
_DATA: Schema = {
    "type": "string",
    "contentEncoding": "base64",
    "description": "What is in it; only where a client has waited: a job's have addresses.",
}
_ANSWER: Schema = _object(
    {
        "result": {"type": "object"},
        "plugin": {"type": "string"},
        "artifacts": {
            "type": "array",
            "items": _object(
                {**_ARTIFACT["properties"], "data": _DATA}, required=_ARTIFACT["required"]
            ),
            "description": "What the plugin made beside its result; not there if it made nothing.",
        },
    },
    required=["result", "plugin"],
)
_JOB: Schema = _object(
    {
        "id": _ID,
        "plugin": {"type": "string"},
        "status": {"type": "string", "enum": list(JobStatus)},
        "progress": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "created_at": _TIME,
        "started_at": _MAYBE_TIME,
        "ended_at": _MAYBE_TIME,
        "attempts": _COUNT,
        "error": {"type": ["object", "null"]},
    }
)
_PLUGIN: Schema = _object(
    {
        "name": {"type": "string"},
        "state": {"type": "string", "enum": list(PluginState)},
        "description": {"type": "string"},
        "version": {"type": "string"},
        "reason": {"type": "string"},
        "uptime_seconds": {"type": "number", "minimum": 0},
        "last_used": _MAYBE_TIME,
        "success_count": _COUNT,
        "error_count": _COUNT,
        "last_execution_time_ms": _MAYBE_NUMBER,
        "avg_execution_time_ms": _MAYBE_NUMBER,
        "in_flight": _COUNT,
        "environment": {
            "type": "string",
            "enum": ["own", "runner", ""],
            "description": "Where its calls find modules; empty where it cannot run for want.",
        },
    }
)
_HEALTH: Schema = _object(
    {
        "name": {"type": "string"},
        "state": {"type": "string", "enum": list(PluginState)},
        "healthy": {
            "type": "boolean",
            "description": "It can be called, and its last call did not fail by its own fault.",
        },
        "reason": {"type": "string"},
    }
)
COMPONENTS: dict[str, Schema] = {
    "PluginName": {
        "type": "string",
        "minLength": 1,
        "description": "The plugin's name; GET /v1/plugins lists them.",
    },
    "Error": _ERROR,
    "Answer": _ANSWER,
    "Job": _JOB,
    "Jobs": {"type": "array", "items": {"$ref": "#/components/schemas/Job"}},
    "Artifacts": {"type": "array", "items": _ARTIFACT},
    "Plugin": _PLUGIN,
    "Plugins": {"type": "array", "items": {"$ref": "#/components/schemas/Plugin"}},
    "Health": _HEALTH,
    "Alive": _object({"status": {"type": "string", "const": "ok"}}),
    "Ready": _object(
        {
            "status": {"type": "string", "enum": ["ready", "not ready"]},
            "reasons": {"type": "array", "items": {"type": "string"}},
        }
    ),
}

_JOB_EXAMPLE = {
    "id": _ID_EXAMPLE,
    "plugin": "barcode",
    "status": "RUNNING",
    "progress": 0.5,
    "created_at": _TIME_EXAMPLE,
    "started_at": _TIME_EXAMPLE,
    "ended_at": None,
    "attempts": 1,
    "error": None,
}
_PLUGIN_EXAMPLE = {
    "name": "text-stats",
    "state": "INITIALIZED",
    "description": "Counts words and sentences.",
    "version": "1.0.0",
    "reason": "",
    "uptime_seconds": 12.5,
    "last_used": _TIME_EXAMPLE,
    "success_count": 1,
    "error_count": 0,
    "last_execution_time_ms": 4,
    "avg_execution_time_ms": 4.0,
    "in_flight": 0,
    "environment": "runner",
}
_ARTIFACT_EXAMPLE = {
    "name": "annotated.png",
    "mime_type": "image/png",
    "bytes": 67,
    "sha256": "431ced6916a2a21a156e38701afe55bbd7f88969fbbfc56d7fe099d47f265460",
}
_EXAMPLES: dict[str, Any] = {
    "Answer": {"result": {"words": 1}, "plugin": "text-stats"},
    "Job": _JOB_EXAMPLE,
    "Jobs": [_JOB_EXAMPLE],
    "Artifacts": [_ARTIFACT_EXAMPLE],
    "Plugin": _PLUGIN_EXAMPLE,
    "Plugins": [_PLUGIN_EXAMPLE],
    "Health": {"name": "text-stats", "state": "INITIALIZED", "healthy": True, "reason": ""},
    "Alive": {"status": "ok"},
    "Ready": {"status": "ready", "reasons": []},
}
_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


def with_plugins(document: Schema, names: list[str] | None) -> Schema:
    """Return the document with the names that a plugin can have, if they may be told."""
    if not names:
        return document
    components = document["components"]
    named = {**components["schemas"]["PluginName"], "enum": names}
    found = {**components["schemas"], "PluginName": named}
    return {**document, "components": {**components, "schemas": found}}


def body(*, is_job: bool = False) -> Schema:
    """Return the ``requestBody`` of a route that runs a plugin."""
    more = {"retries": _RETRIES} if is_job else {}
    image = {"plugin": _PLUGIN_NAME, "image": _BASE64, "mime_type": _MIME_TYPE, "options": _OPTIONS}
    with_image = _object({**image, **more}, required=["plugin", "image", "mime_type"])
    with_payload = _object(
        {"plugin": _PLUGIN_NAME, "payload": {"type": "object"}, **more},
        required=["plugin", "payload"],
    )
    common = {"plugin": _PLUGIN_NAME, "options": _OPTIONS, **more}
    with_files = _object({**common, "files": _FILES}, required=["plugin", "files"])
    file = {"type": "string", "format": "binary", "minLength": 1}
    form = _object({**image, "image": file, **more}, required=["plugin", "image", "mime_type"])
    examples = {
        "an image": {
            "value": {"plugin": "image-info", "image": _PNG, "mime_type": "image/png"},
        },
        "json": {"value": {"plugin": "text-stats", "payload": {"text": "One sentence."}}},
    }
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [with_image, with_files, with_payload]},
                "examples": examples,
            },
            "multipart/form-data": {
                "schema": {**form, "description": _FILES_OF_A_FORM},
                "encoding": {"options": {"contentType": "application/json"}},
            },
        },
    }


def answer(name: str, description: str, headers: Schema | None = None) -> Schema:
    """Return the description of an answer that is not an error."""
    return {
        "description": description,
        "headers": {**_REQUEST_ID, **(headers or {})},
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}},
    }


def file(whole: str, piece: str, known: str) -> dict[int | str, Schema]:
    """Return the descriptions of a route that answers with a file, by status: 200, 206, 304."""
    text: Schema = {"schema": {"type": "string"}}
    always = {**_REQUEST_ID, "ETag": text}
    content: Schema = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
    one: Schema = {
        "headers": {**always, "Content-Disposition": text, "Accept-Ranges": text},
        "content": content,
    }
    ranged = {**one, "headers": {**one["headers"], "Content-Range": text}}
    return {
        200: {"description": whole, **one},
        206: {"description": piece, **ranged},
        304: {"description": known, "headers": always, "content": {}},
    }


def add_example(response: Schema) -> None:
    """Put an example into the description of an answer, if it is JSON.

    Not sooner: what FastAPI makes the document of loses its nulls.
    """
    content = response["content"].get("application/json")
    if content is not None:
        name = content["schema"]["$ref"].rpartition("/")[2]
        kind = response["description"].partition(": ")[2].partition(",")[0]
        content["example"] = _error_example(kind) if name == "Error" else _EXAMPLES[name]


def errors(*kinds: HttpError | ErrorType) -> dict[int | str, Schema]:
    """Return the descriptions of the errors that a route can answer with, by status."""
    by_status: dict[int, list[str]] = {}
    always = (ErrorType.VALIDATION_ERROR, ErrorType.INTERNAL_ERROR, ErrorType.OVERLOADED)
    for kind in dict.fromkeys((*kinds, *always)):
        by_status.setdefault(STATUS.get(kind, 400), []).append(str(kind))
    return {status: error_answer(status, names) for status, names in sorted(by_status.items())}


def error_answer(status: int, names: list[str]) -> Schema:
    """Return the description of one status that carries an error."""
    found: Schema = {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(names)}",
        "headers": dict(_REQUEST_ID),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for header, statuses in _HEADERS_OF_ERRORS.items():
        if status in statuses:
            found["headers"][header] = {"schema": {"type": "string"}}
    return found


_REQUEST_ID: Schema = {"X-Request-ID": {"schema": _ID}}
_HEADERS_OF_ERRORS = {
    "WWW-Authenticate": {401},
    "Allow": {405},
    "Retry-After": {429, 503},
    "Content-Range": {416},
}


def _error_example(kind: str) -> Schema:
    return {
        "detail": {
            "type": kind,
            "message": "what went wrong, and what to do",
            "details": {"blame": "caller", "retryable": False, "request_id": _ID_EXAMPLE},
            "plugin": None,
            "timestamp": _TIME_EXAMPLE,
        }
    }
