"""Tracing: where the spans of this process go.

Off unless a receiver is named: then nothing of OpenTelemetry is imported, and no span is made.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from runtime import settings
from runtime.logs import Log
from runtime.settings import SettingsError
from runtime.span_queue import Exporter, SpanQueue
from runtime.spans import Span
from runtime.trace_settings import RECEIVERS, Sampling, TraceSettings

#: What the last spans get of a stop.
_CLOSE_SECONDS: Final = 1.0
_MISSING: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT is set, and the packages that send traces are not installed: "
    "pip install 'runstream[otel]', or unset it"
)


class Traces:
    """The spans of one process; made where there is a receiver."""

    def __init__(self, found: TraceSettings, instance: str, app: str, log: Log) -> None:
        """Sends nothing, and loads nothing of OpenTelemetry, before `start`."""
        self._settings, self._instance, self.app, self._log = found, instance, app, log
        self._queue: SpanQueue | None = None

    @property
    def sampling(self) -> Sampling:
        """Which executions are traced."""
        return self._settings.sampling

    def start(self) -> None:
        """Load what sends spans now, which takes half a second, and not with the first span."""
        if self._queue is None:
            found = self._settings
            delay = found.span_delay_ms / 1_000
            self._queue = SpanQueue(
                self.exporter(), self._log, found.span_queue, found.span_batch, delay
            )

    def add(self, *spans: Span) -> None:
        """Send these, some time later; never waits. After `start`, from any thread."""
        assert self._queue is not None  # of a process that makes spans  # noqa: S101
        self._queue.add(spans)

    def exporter(self) -> Exporter:
        """A new one, for a thread of its own."""
        from runtime.otlp import OtlpExporter

        return OtlpExporter(self._settings, self._instance)

    def close(self, seconds: float) -> None:
        """Send what waits, for as long as this at most."""
        if self._queue is not None:
            self._queue.close(seconds)


@dataclass(slots=True)
class _Process:
    traces: Traces | None = None


_process: Final = _Process()


def load() -> TraceSettings | None:
    """Where spans go; None where no receiver is named. Raises SettingsError."""
    if not any(os.environ.get(name) for name in RECEIVERS):
        return None
    found = settings.load(TraceSettings)
    return found if found.spans_url is not None else None


def begin(found: TraceSettings | None, instance: str, app: str, log: Log) -> None:
    """Turn traces on for this process where there are settings of them.

    Raises SettingsError where the packages for it are missing.
    """
    if found is None:
        return
    if not _installed():
        raise SettingsError(_MISSING)
    _process.traces = Traces(found, instance, app, log)
    log.info("traces are on", receiver=found.spans_host)


def end(drain_seconds: float) -> None:
    """Send what waits, within a small part of the time that a stop may take."""
    traces, _process.traces = _process.traces, None
    if traces is not None:
        traces.close(min(_CLOSE_SECONDS, drain_seconds))


def active() -> Traces | None:
    """The traces of this process; None where they are off."""
    return _process.traces


def _installed() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False
