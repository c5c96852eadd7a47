"""Why a plugin failed, in words that anybody may read who asks how it is."""

from __future__ import annotations

import builtins

from toolrunner.runner.errors import (
    MAX_MESSAGE_BYTES,
    ErrorType,
    GovernedError,
    cut_end,
    harmless,
)


def reason_of(failure: GovernedError) -> str:
    """Return why a plugin failed, for everybody who may ask how it is.

    What a plugin raises or returns may quote the payload of its caller: that is for the caller.
    """
    message = failure.message
    if failure.error_type is ErrorType.EXECUTION_ERROR:
        raised = str(failure.details.get("exception"))
        message = f"run raised {raised if hasattr(builtins, raised) else 'an exception of its own'}"
    elif failure.error_type is ErrorType.OUTPUT_VALIDATION_ERROR:
        message = "the result of run is not a strict JSON object"
    return reason(failure.error_type, message)


def reason(error_type: ErrorType, message: str) -> str:
    """Return an error as a line of bounded length."""
    return cut_end(harmless(f"{error_type}: {message}"), MAX_MESSAGE_BYTES)
