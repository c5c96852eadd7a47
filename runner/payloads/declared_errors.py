"""Errors that a plugin returns inside its result, where its manifest says that they stand there.

``validation`` asks for each result. Without an ``error_key`` in the manifest a result is a success,
whatever it says.
"""

from __future__ import annotations

from typing import Any

from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.json_writing import dumps

RETURNED = "run returned an error"


def check_no_error(result: dict[str, Any], error_key: str) -> None:
    """Raise what a plugin has returned as its error, if there is anything in that place."""
    if not error_key or not result.get(error_key):
        return
    value = result[error_key]
    if isinstance(value, dict) and isinstance(value.get("message"), str):
        value = value["message"] or value
    text = value if isinstance(value, str) else dumps(value).decode()
    more = result.get("message")
    if value is result[error_key] and isinstance(more, str) and more != text:
        text = f"{text}: {more}"  # a code, and beside it the words
    raise GovernedError(ErrorType.EXECUTION_ERROR, text or RETURNED)
