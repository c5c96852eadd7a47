"""What a client sends, before the protocol's own library has it: the same is refused at every door.

A message is strict JSON, and one of JSON-RPC. What is none is told so: who has asked would wait for
an answer for good. Imports nothing of that library, which is an extra.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toolrunner.runner.payloads.strict_json import JsonError, loads

# What is larger is for the other routes, which read it without stopping anybody.
MOST_MESSAGE_MB = 32
# JSON-RPC's own codes.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
# Of what a client hears again, some of it with each notification of progress.
_MOST_ECHOED = 1 << 10


@dataclass(frozen=True, slots=True)
class Refused:
    """What is answered to what is no message. ``id`` is that of its request, if it has one."""

    code: int
    message: str
    id: str | int | None = None

    def document(self) -> dict[str, Any]:
        """Return it as it is sent."""
        error = {"code": self.code, "message": self.message}
        return {"jsonrpc": "2.0", "id": self.id, "error": error}


def message_in(data: bytes) -> dict[str, Any] | Refused:
    """Return a message, or how it is refused."""
    try:
        given = loads(data)
    except JsonError as error:
        return Refused(PARSE_ERROR, f"the message: {error}")
    if not isinstance(given, dict):
        return Refused(INVALID_REQUEST, "the message: it has to be one object, not several")
    if _echoes_much(given):
        words = f"id, method, requestId or progressToken is longer than {_MOST_ECHOED}"
        return Refused(INVALID_REQUEST, words)
    wrong = _wrong_of(given)
    if wrong:
        number = given.get("id")
        return Refused(INVALID_REQUEST, f"the message: {wrong}", number if _is_id(number) else None)
    return given


def _wrong_of(given: Mapping[str, Any]) -> str:
    """Return what is wrong with an object as a message, "" if nothing is."""
    if given.get("jsonrpc") != "2.0":
        return 'jsonrpc: it has to be "2.0"'
    if "method" not in given:
        return "" if _is_answer(given) else "method: there is none"
    if not isinstance(given["method"], str):
        return "method: it has to be a string"
    if not isinstance(given.get("params"), dict | None):
        return "params: it has to be an object"
    # The library would take it as a notification, which nobody answers.
    if "id" in given and not _is_id(given["id"]):
        return "id: it has to be a string or an integer"
    return ""


def _is_answer(given: Mapping[str, Any]) -> bool:
    number, error = given.get("id"), given.get("error")
    if isinstance(given.get("result"), dict):
        return _is_id(number)
    if not isinstance(error, dict) or "id" not in given:
        return False
    is_whole = type(error.get("code")) is int and isinstance(error.get("message"), str)
    return is_whole and (number is None or _is_id(number))


def _is_id(value: object) -> bool:
    return type(value) in {int, str}


def _echoes_much(given: Mapping[str, Any]) -> bool:
    """Tell whether a message has a long text where an answer would repeat it."""
    params = given.get("params")
    params = params if isinstance(params, dict) else {}
    meta = params.get("_meta")
    meta = meta if isinstance(meta, dict) else {}
    echoed = (
        given.get("id"),
        given.get("method"),
        params.get("requestId"),
        meta.get("progressToken"),
    )
    return any(isinstance(one, str) and len(one) > _MOST_ECHOED for one in echoed)
