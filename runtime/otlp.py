"""OTLP: spans as protobuf over HTTP, by OpenTelemetry's own exporter.

Imported where there are traces only: its libraries take half a second to load, and are an extra.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from runtime.logs import masked
from runtime.spans import MAX_TEXT, Span, Value
from runtime.trace_settings import TraceSettings
from streams.trace_context import TraceContext

_KINDS: Final = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
#: Processes of this name have no instance in their resource: what any of them reports of one event
#: is the same to the byte, so that a receiver which drops repeated spans can.
_SHARED: Final = "router"


class OtlpExporter:
    """Sends spans; for one thread, but for `shutdown`."""

    def __init__(self, settings: TraceSettings, instance: str) -> None:
        """Connects to nothing."""
        # Its own lines would come with every attempt to send: the queue says it once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._instance = instance
        self._exporter = OTLPSpanExporter(
            endpoint=settings.spans_url, headers=settings.spans_headers
        )
        self._scope = InstrumentationScope("runstream", version("runstream"))
        self._resource_of = lru_cache(maxsize=8)(self._resource)

    def export(self, spans: Sequence[Span]) -> bool:
        """Whether the receiver has taken them; tries again for OTEL_EXPORTER_OTLP_TIMEOUT."""
        result = self._exporter.export([self._readable(span) for span in spans])
        return result is SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """End what is tried again; nothing is exported any more."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _readable(self, span: Span) -> ReadableSpan:
        attributes: dict[str, Value] = {
            name: _text(value) if isinstance(value, str) else value
            for name, value in span.attributes.items()
        }
        status = Status()
        if span.fault is not None:
            attributes["error.type"] = span.fault.error_class
            message = _text(span.fault.message)
            status = Status(StatusCode.ERROR, message or None)
        return ReadableSpan(
            name=span.name[:MAX_TEXT],
            context=_context(span.context),
            parent=None if span.is_first else _context(span.context.at(span.parent)),
            resource=self._resource_of(span.app),
            attributes=attributes,
            links=[Link(_context(one)) for one in span.links],
            kind=_KINDS[span.kind],
            status=status,
            start_time=span.start_ns,
            end_time=max(span.start_ns, span.end_ns),
            instrumentation_scope=self._scope,
        )

    def _resource(self, app: str) -> Resource:
        own = {"service.version": version("runstream"), SERVICE_INSTANCE_ID: self._instance}
        # OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME are read by the library.
        found = dict(Resource.create(own).attributes)
        if str(found.get(SERVICE_NAME, "")).startswith("unknown_service"):
            found[SERVICE_NAME] = f"runstream-{app}"
        if app == _SHARED:
            del found[SERVICE_INSTANCE_ID]
        return Resource(found)


def _text(text: str) -> str:
    """As in a log line: masked before it is cut, or half a secret would remain."""
    # Longer texts are cut twice: a pattern looks at every character.
    return masked(text[: 4 * MAX_TEXT])[:MAX_TEXT]


def _context(context: TraceContext) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return SpanContext(
        int(context.trace_id, 16), int(context.span_id, 16), is_remote=False, trace_flags=flags
    )
