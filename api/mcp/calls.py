"""One call of a tool, in a thread that waits for it: made by the services, told as a tool's result.

Both doors that have tools make their calls so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcp import types

from toolrunner.api.mcp.results import answered, failed
from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.artifacts import ArtifactInfo, info_of
from toolrunner.runner.call import Call
from toolrunner.runner.errors import GovernedError, build_error_envelope
from toolrunner.runner.services import AnalysisService

Error = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be called, and what makes its payload: that may raise GovernedError."""

    manifest: Manifest
    payload: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Ended:
    """What a call has come to: ``outcome`` is "success" or the type of its error."""

    result: types.CallToolResult
    outcome: str
    artifacts: tuple[ArtifactInfo, ...] = ()


def made(
    analysis: AnalysisService,
    wanted: Wanted,
    call: Call,
    shown: Callable[[Error], Error] = lambda error: error,
) -> Ended:
    """Make a call, and return what it has come to. ``shown``: what its caller may see of an error.

    A payload that cannot be had is refused here, and the runner hears of no call.
    """
    manifest = wanted.manifest
    try:
        payload = wanted.payload()
    except GovernedError as error:
        return _failed(_refusal(manifest, error, call))
    result, envelope = analysis.analyze(manifest.name, payload, call=call)
    if envelope is not None:
        return _failed(shown(envelope["error"]))
    has_schema = manifest.output_schema is not None
    told = answered(result, call.artifacts, call.call_id, has_schema=has_schema)
    return Ended(told, "success", tuple(info_of(one) for one in call.artifacts))


def _failed(error: Error) -> Ended:
    return Ended(failed(error), str(error["type"]))


def _refusal(manifest: Manifest, error: GovernedError, call: Call) -> Error:
    envelope = build_error_envelope(
        error.error_type,
        error.message,
        plugin=manifest.name,
        call_id=call.call_id,
        details=error.details,
    )
    return envelope["error"]
