"""Why a plugin failed, in words that anybody may read who asks how it is."""

from __future__ import annotations

import builtins
import re

from toolrunner.runner.errors import (
    MAX_MESSAGE_BYTES,
    ErrorType,
    GovernedError,
    cut_end,
    harmless,
)
from toolrunner.runner.payloads.declared_errors import RETURNED
from toolrunner.runner.payloads.schema import UNFIT

# What a process says of its own ``run_batch``: numbers alone are taken from it.
_WRONG_NUMBER = re.compile(r"run_batch returned \d{1,9} results? for \d{1,9} payloads")
_NO_LIST = "run_batch returned an object of type "


def reason_of(failure: GovernedError) -> str:
    """Return why a plugin failed, for everybody who may ask how it is.

    What a plugin raises or returns may quote the payload of its caller: that is for the caller.
    """
    message = failure.message
    if failure.error_type is ErrorType.EXECUTION_ERROR:
        raised = failure.details.get("exception")
        what = raised if hasattr(builtins, str(raised)) else "an exception of its own"
        message = RETURNED if raised is None else f"run raised {what}"
    elif failure.error_type is ErrorType.OUTPUT_VALIDATION_ERROR:
        message = _of_a_result(message)
    return reason(failure.error_type, message)


def _of_a_result(message: str) -> str:
    wrong_number = _WRONG_NUMBER.match(message)
    if wrong_number:
        return wrong_number.group()
    if message.startswith(_NO_LIST):
        return "what run_batch returned is not a list"
    if message.startswith(UNFIT):
        return "the result of run does not fit its output_schema"
    return "the result of run is not a strict JSON object"


def reason(error_type: ErrorType, message: str) -> str:
    """Return an error as a line of bounded length."""
    return cut_end(harmless(f"{error_type}: {message}"), MAX_MESSAGE_BYTES)
