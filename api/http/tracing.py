"""Traces: one span a governed call, below FastAPI's own of the request that it came with.

Made by the worker, after the fork, if somebody has named a collector; without one OpenTelemetry's
SDK is never imported. The spans go out in a thread of their own, and a collector that is away costs
no call anything.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from toolrunner.api.http.context import TRACEPARENT
from toolrunner.runner.call import Call
from toolrunner.runner.errors import ErrorType
from toolrunner.runner.settings.settings import Settings

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span
    from starlette.types import Scope

SERVICE = "toolrunner"
MISSING = (
    "traces need OpenTelemetry's SDK, which is not installed: "
    'pip install "toolrunner-sandbox[traces]", or in a clone: pip install ".[traces]"'
)
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_FLUSH_MS = 5000
_QUIET_SECONDS = 60.0
# Asked again and again by machines, and parts of nothing.
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_CALLERS = frozenset(one.value for one in ErrorType if one.blame.value == "caller")


def is_wanted(settings: Settings) -> bool:
    """Tell whether the settings or OpenTelemetry's own variables name a collector."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if settings.traces_endpoint:
        return True
    named = any(os.environ.get(name) for name in _ENDPOINTS)
    return named and os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "otlp"


def is_possible() -> bool:
    """Tell whether the SDK and its exporter are installed, without importing them."""
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # not even what is above it
        return False


class CallTracing:
    """The spans of one process, and where they go. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        """Begin to export. The SDK's own variables hold for all but the settings' address."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        logging.getLogger(OTLPSpanExporter.__module__).addFilter(_OnceAMinute())
        own = settings.traces_endpoint
        exporter = OTLPSpanExporter(endpoint=f"{own}/v1/traces") if own else OTLPSpanExporter()
        name = os.environ.get("OTEL_SERVICE_NAME") or SERVICE
        self._provider: TracerProvider = TracerProvider(
            resource=Resource.create({SERVICE_NAME: name}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE)

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        self._provider.force_flush(_FLUSH_MS)
        self._provider.shutdown()

    @property
    def config(self) -> TelemetryConfig:
        """What FastAPI does by itself: a span a request, and nothing else."""
        return {
            **UNTRACED,
            "tracing": True,
            "tracer_provider": self._provider,
            "exclude": _is_probe,
        }

    @staticmethod
    def current() -> str:
        """Return the ``traceparent`` of the request that is served, "" for one without a span."""
        return _traceparent(trace.get_current_span())

    def begin(self, call: Call) -> Callable[[str, str], None]:
        """Begin the span of a call, whose children are its wait, its load and its run."""
        began_at, began = time.time_ns(), time.monotonic()
        span = self._tracer.start_span(
            "call", context=_above(call), kind=SpanKind.INTERNAL, start_time=began_at
        )
        call.traceparent = _traceparent(span)
        token = TRACEPARENT.set(call.traceparent)  # for what the log says of it

        def at(moment: float) -> int:
            return began_at + round((moment - began) * 1e9)

        def ended(plugin: str, outcome: str) -> None:
            TRACEPARENT.reset(token)
            now = time.monotonic()
            if span.is_recording():
                self._describe(span, call, plugin, outcome)
                within = trace.set_span_in_context(span, otel_context.Context())
                placed, sent = call.placed or now, call.began or now
                self._child("queue", within, at(began), at(placed))
                if call.placed:
                    self._child("load", within, at(placed), at(sent))
                if call.began:
                    self._child("run", within, at(sent), at(now))
            span.end(at(now))

        return ended

    def _child(self, name: str, parent: Context, began: int, ended: int) -> None:
        self._tracer.start_span(name, context=parent, start_time=began).end(ended)

    @staticmethod
    def _describe(span: Span, call: Call, plugin: str, outcome: str) -> None:
        span.update_name(f"call {plugin}" if plugin else "call")
        span.set_attributes(
            {
                "toolrunner.plugin": plugin,
                "toolrunner.call_id": call.call_id,
                "toolrunner.outcome": outcome,
                "toolrunner.mode": call.isolation.mode,
                "toolrunner.cpu_ms": call.usage.cpu_ms,
                "toolrunner.peak_memory_bytes": call.usage.peak_memory_bytes,
            }
        )
        if outcome != "success":
            span.set_attribute("error.type", outcome)
            if outcome not in _CALLERS:
                span.set_status(Status(StatusCode.ERROR))


class _OnceAMinute(logging.Filter):
    """Lets one record a minute pass: an exporter says of each batch that it tries, and gives up."""

    def __init__(self) -> None:
        super().__init__()
        self._said: float | None = None

    def filter(self, _record: logging.LogRecord) -> bool:
        """Tell whether it is time for a record."""
        now = time.monotonic()
        if self._said is not None and now - self._said < _QUIET_SECONDS:
            return False
        self._said = now
        return True


# What FastAPI would do by itself: by its defaults it uses whatever providers a library has made.
UNTRACED: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def _is_probe(scope: Scope) -> bool:
    return scope["path"] in _PROBES


def _above(call: Call) -> Context | None:
    """Return what a call is a part of: a job's is told by the request that has left it."""
    if trace.get_current_span().get_span_context().is_valid or not call.traceparent:
        return None  # the span of this very request, if there is one
    return TraceContextTextMapPropagator().extract({"traceparent": call.traceparent})


def _traceparent(span: Span) -> str:
    found = span.get_span_context()
    if not found.is_valid:
        return ""
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"
