"""What the API answers, as OpenAPI describes it; what it reads is in ``request_schemas``.

Answers are made by the routes. The tests hold them against these schemas.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from toolrunner.api.http.errors import STATUS, HttpError, blame_of, is_retryable
from toolrunner.api.http.request_schemas import ANY_OBJECT, BODIES, Schema, strict_object
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.jobs.job import JobStatus
from toolrunner.runner.registry.plugin_changes import What
from toolrunner.runner.registry.registry import PluginState
from toolrunner.runner.registry.suspensions import SuspendedBy

_TIME: Schema = {"type": "string", "format": "date-time"}
_MAYBE_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
_MAYBE_NUMBER: Schema = {"type": ["number", "null"], "minimum": 0}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_ID_EXAMPLE = "5c8718597b2e4b1e8bb4530624b1ea06"
_TIME_EXAMPLE = "2026-01-31T12:00:00.000Z"


_DETAIL: Schema = strict_object(
    {
        "type": {"type": "string", "enum": [*ErrorType, *HttpError]},
        "message": {"type": "string"},
        "details": ANY_OBJECT,
        "plugin": {"type": ["string", "null"]},
        "timestamp": _TIME,
    }
)
_ARTIFACT: Schema = strict_object(
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
_ANSWER: Schema = strict_object(
    {
        "result": ANY_OBJECT,
        "plugin": {"type": "string"},
        "artifacts": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/ArtifactData"},
            "description": "What the plugin made beside its result; not there if it made nothing.",
        },
    },
    required=["result", "plugin"],
)
_JOB: Schema = strict_object(
    {
        "id": _ID,
        "plugin": {"type": "string"},
        "status": {"type": "string", "enum": list(JobStatus)},
        "progress": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "created_at": _TIME,
        "started_at": _MAYBE_TIME,
        "ended_at": _MAYBE_TIME,
        "attempts": _COUNT,
        "error": {"anyOf": [{"$ref": "#/components/schemas/Detail"}, {"type": "null"}]},
        "waiting_for": {
            "type": ["string", "null"],
            "description": "What is missing where no server can run it now: one that has its "
            "plugin, or the end of a suspension.",
        },
        "dead": {
            "type": "boolean",
            "description": "It has failed, and is kept with its payload: it can be retried.",
        },
    }
)
_JOB["properties"]["caller"] = {
    "type": "string",
    "description": "Whose it is, by the key's name: shown to the operator alone.",
}
_PLUGIN: Schema = strict_object(
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
        "suspended_by": {
            "type": "string",
            "enum": [*SuspendedBy, ""],
            "description": "Who says that it takes no calls for now; empty while it takes them.",
        },
        "retry_after_seconds": {
            "type": ["integer", "null"],
            "minimum": 0,
            "description": "For how long it takes none, where that is known.",
        },
        "failures_in_row": _COUNT,
        "last_failure": {
            "type": "string",
            "description": "Why it last failed by its own fault, also after a success.",
        },
        "last_failure_at": _MAYBE_TIME,
    }
)
_HEALTH: Schema = strict_object(
    {
        **_PLUGIN["properties"],
        "healthy": {
            "type": "boolean",
            "description": "It takes calls, and its last call did not fail by its own fault.",
        },
    }
)
for _one in (_PLUGIN, _HEALTH):
    _one["properties"]["available_on"] = {
        "type": "array",
        "description": "Where servers share their jobs: whose workers take jobs of it now.",
        "items": {
            "type": "object",
            "properties": {
                "host": {"type": "string", "description": "Shown to the operator alone."},
                "version": {"type": "string"},
                "workers": _COUNT,
            },
            "required": ["version", "workers"],
            "additionalProperties": False,
        },
    }
_CHANGE = strict_object(
    {
        "setting": {"type": "string", "description": "Its name, as caps.memory_mb."},
        "value": {"type": "string", "description": "What it is now, as JSON."},
        "was": {"type": "string"},
        "source": {"type": "string", "description": "Where the value stands."},
        "is_live": {
            "type": "boolean",
            "description": "Whether it counts from now on, or from the next start on.",
        },
    }
)
_PLUGIN_CHANGE = strict_object(
    {
        "plugin": {"type": "string"},
        "change": {
            "type": "string",
            "enum": list(What),
            "description": "What has become of it; gone and unavailable are logged as warnings.",
        },
        "version": {
            "type": ["string", "null"],
            "description": 'Its version now, "" for none; null if it has gone.',
        },
        "was": {"type": ["string", "null"], "description": "Its version before; null if new."},
        "reason": {"type": "string", "description": "Why it cannot run here now."},
    }
)
_AUDIT_LINE: Schema = {
    "type": "object",
    "properties": {
        "seq": {"type": "integer", "minimum": 0, "description": "Its place among all lines."},
        "time": _TIME,
        "host": {"type": "string", "description": "Whose server wrote it, where several do."},
        "caller": {"type": "string"},
        "key": {"type": "string"},
        "client": {"type": "string"},
        "route": {"type": "string"},
        "plugin": {"type": "string"},
        "outcome": {"type": "string"},
        "status": _COUNT,
    },
    "required": ["seq", "time"],
    "additionalProperties": True,
}
COMPONENTS: dict[str, Schema] = {
    "PluginName": {
        "type": "string",
        "minLength": 1,
        "description": "The plugin's name; GET /v1/plugins lists them.",
    },
    "Error": strict_object({"detail": {"$ref": "#/components/schemas/Detail"}}),
    "Detail": _DETAIL,
    "Answer": _ANSWER,
    "Job": _JOB,
    "Jobs": {"type": "array", "items": {"$ref": "#/components/schemas/Job"}},
    "Artifact": _ARTIFACT,
    "ArtifactData": strict_object(
        {**_ARTIFACT["properties"], "data": _DATA}, required=_ARTIFACT["required"]
    ),
    "Artifacts": {"type": "array", "items": {"$ref": "#/components/schemas/Artifact"}},
    "Plugin": _PLUGIN,
    "Plugins": {"type": "array", "items": {"$ref": "#/components/schemas/Plugin"}},
    "Health": _HEALTH,
    "AuditLine": _AUDIT_LINE,
    "AuditLines": {"type": "array", "items": {"$ref": "#/components/schemas/AuditLine"}},
    "Alive": strict_object({"status": {"type": "string", "const": "ok"}}),
    "Ready": strict_object(
        {
            "status": {"type": "string", "enum": ["ready", "not ready"]},
            "reasons": {"type": "array", "items": {"type": "string"}},
            "warnings": {
                "type": "array",
                "items": {"type": "string"},
                "description": "What is to be mended, and keeps nobody from being served.",
            },
        }
    ),
    "Change": _CHANGE,
    "PluginChange": _PLUGIN_CHANGE,
    "Reload": strict_object(
        {
            "changes": {"type": "array", "items": {"$ref": "#/components/schemas/Change"}},
            "plugins": {"type": "array", "items": {"$ref": "#/components/schemas/PluginChange"}},
        }
    ),
    **BODIES,
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
    "waiting_for": None,
    "dead": False,
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
    "suspended_by": "",
    "retry_after_seconds": None,
    "failures_in_row": 0,
    "last_failure": "",
    "last_failure_at": None,
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
    "Health": {**_PLUGIN_EXAMPLE, "healthy": True},
    "AuditLines": [
        {
            "seq": 1,
            "time": _TIME_EXAMPLE,
            "caller": "shop",
            "key": "1a2b3c4d",
            "client": "192.0.2.7",
            "route": "POST /v1/analyze",
            "plugin": "barcode",
            "outcome": "success",
            "status": 200,
            "ms": 12,
        }
    ],
    "Alive": {"status": "ok"},
    "Ready": {"status": "ready", "reasons": [], "warnings": []},
    "Reload": {
        "changes": [
            {
                "setting": "caps.memory_mb",
                "value": "1024",
                "was": "2048",
                "source": "config.toml line 3",
                "is_live": True,
            }
        ],
        "plugins": [
            {
                "plugin": "text-stats",
                "change": "changed",
                "version": "1.1.0",
                "was": "1.0.0",
                "reason": "",
            }
        ],
    },
}


def with_plugins(document: Schema, names: list[str] | None) -> Schema:
    """Return the document with the names that a plugin can have, if they may be told."""
    if not names:
        return document
    components = document["components"]
    named = {**components["schemas"]["PluginName"], "enum": names}
    found = {**components["schemas"], "PluginName": named}
    return {**document, "components": {**components, "schemas": found}}


def answer(name: str, description: str, headers: Schema | None = None) -> Schema:
    """Return the description of an answer that is not an error."""
    return {
        "description": description,
        "headers": {**REQUEST_ID, **(headers or {})},
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}},
    }


def file(whole: str, piece: str, known: str) -> dict[int | str, Schema]:
    """Return the descriptions of a route that answers with a file, by status: 200, 206, 304."""
    text: Schema = {"schema": {"type": "string"}}
    always = {**REQUEST_ID, "ETag": text}
    binary: Schema = {"schema": {"type": "string", "format": "binary"}}
    # Any type; the first is for the generators of clients that know no such range.
    content: Schema = {"application/octet-stream": binary, "*/*": binary}
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
    if ErrorType.CANCELLED in kinds:  # also by the server, which ends
        by_status[503].append(str(ErrorType.CANCELLED))
    return {status: error_answer(status, names) for status, names in sorted(by_status.items())}


def error_answer(status: int, names: list[str]) -> Schema:
    """Return the description of one status that carries an error."""
    found: Schema = {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(names)}",
        "headers": dict(REQUEST_ID),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for header, statuses in _HEADERS_OF_ERRORS.items():
        # A plugin that is suspended says for how long, though the host is not to blame.
        is_suspended = header == "Retry-After" and ErrorType.PLUGIN_UNAVAILABLE in names
        if status in statuses or is_suspended:
            found["headers"][header] = {"schema": {"type": "string"}}
    return found


REQUEST_ID: Schema = {"X-Request-ID": {"schema": _ID}}
_HEADERS_OF_ERRORS = {
    "WWW-Authenticate": {401},
    "Allow": {405},
    "Accept-Encoding": {415},
    "Retry-After": {429, 503},
    "Content-Range": {416},
}


def _error_example(kind: str) -> Schema:
    more = {"retry_after_seconds": 1} if kind in _WAITING else {}
    return {
        "detail": {
            "type": kind,
            "message": "what went wrong, and what to do",
            "details": {
                "blame": blame_of(kind),
                "retryable": is_retryable(kind),
                "request_id": _ID_EXAMPLE,
                **more,
            },
            "plugin": None,
            "timestamp": _TIME_EXAMPLE,
        }
    }


_WAITING = {ErrorType.OVERLOADED, HttpError.RATE_LIMITED}
