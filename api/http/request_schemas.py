"""What the API reads, as OpenAPI describes it: the bodies of the routes that run a plugin.

Nothing is parsed here; ``bodies`` does that, and the tests hold it against this. Each form of a
body has a name, for the clients that are generated of it.
"""

from __future__ import annotations

from typing import Any

from toolrunner.api.http.bodies import MOST_RETRIES
from toolrunner.runner.payloads.files import MOST_FILES

Schema = dict[str, Any]

_PLUGIN: Schema = {"$ref": "#/components/schemas/PluginName"}
# Said in so many words: without them openapi-typescript takes it for an object of no keys.
ANY_OBJECT: Schema = {"type": "object", "additionalProperties": True}
_OPTIONS: Schema = {**ANY_OBJECT, "description": "Passed to the plugin as they are."}
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
    "description": "How often the job may be run again after the host has lost it: its server has "
    "died, or was stopped, while it ran.",
}
_BASE64: Schema = {
    "type": "string",
    "minLength": 4,
    "contentEncoding": "base64",
    "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$",
    "description": "The image in standard base64, padded, without line breaks.",
}
# A form with them has a shape of its own, and tools look for files in one shape alone.
_FILES_OF_A_FORM = (
    "For a plugin that takes files, send parts `files` instead of `image` and `mime_type`: as many "
    "as there are, each with a file name of its own."
)
_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
_EXAMPLES = {
    "an image": {
        "value": {"plugin": "image-info", "image": _PNG, "mime_type": "image/png"},
    },
    "json": {"value": {"plugin": "text-stats", "payload": {"text": "One sentence."}}},
}
# Read of every request. It stands where openapi-python-client 0.29 forgets an import if a body may
# have two types and no parameter is optional (its issue 1451).
_TRACEPARENT: Schema = {
    "name": "traceparent",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Of the client's trace (W3C Trace Context), for the log.",
}
_FORMS_OF_JSON = ("Image", "Files", "Json")


def strict_object(properties: dict[str, Schema], *, required: list[str] | None = None) -> Schema:
    """Return the schema of an object with these keys, all of them unless said, and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


def _forms(kind: str, more: dict[str, Schema]) -> dict[str, Schema]:
    """Return the forms that a call or a job can be asked for in, by name."""
    image = {"plugin": _PLUGIN, "image": _BASE64, "mime_type": _MIME_TYPE, "options": _OPTIONS}
    by_image = ["plugin", "image", "mime_type"]
    files: Schema = {
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_FILES,
        "items": {"$ref": "#/components/schemas/File"},
    }
    file = {"type": "string", "format": "binary", "minLength": 1}
    form = strict_object({**image, "image": file, **more}, required=by_image)
    return {
        f"Image{kind}": strict_object({**image, **more}, required=by_image),
        f"Files{kind}": strict_object(
            {"plugin": _PLUGIN, "options": _OPTIONS, **more, "files": files},
            required=["plugin", "files"],
        ),
        f"Json{kind}": strict_object(
            {"plugin": _PLUGIN, "payload": ANY_OBJECT, **more},
            required=["plugin", "payload"],
        ),
        f"{kind}Form": {**form, "description": _FILES_OF_A_FORM},
    }


BODIES: dict[str, Schema] = {
    "File": strict_object(
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
    **_forms("Call", {}),
    **_forms("Submission", {"retries": _RETRIES}),
}


def request(*, is_job: bool = False) -> Schema:
    """Return what an operation that runs a plugin is described by, beside its answers."""
    return {"requestBody": _body(is_job=is_job), "parameters": [_TRACEPARENT]}


def _body(*, is_job: bool) -> Schema:
    kind = "Submission" if is_job else "Call"
    forms = [{"$ref": f"#/components/schemas/{form}{kind}"} for form in _FORMS_OF_JSON]
    return {
        "required": True,
        "content": {
            "application/json": {"schema": {"oneOf": forms}, "examples": _EXAMPLES},
            "multipart/form-data": {
                "schema": {"$ref": f"#/components/schemas/{kind}Form"},
                "encoding": {"options": {"contentType": "application/json"}},
            },
        },
    }
