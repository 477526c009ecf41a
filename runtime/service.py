"""What all processes have in common: settings, logs, health port, signals, and one exit code."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Callable
from importlib.metadata import version
from types import FrameType
from typing import TypeVar

from prometheus_client import Gauge, disable_created_metrics

from runtime import clock, environment, health, logs, settings, tracing
from runtime.health_ports import DEFAULT_PORTS

S = TypeVar("S", bound=settings.CommonSettings)

_BUILD = Gauge("runstream_build_info", "Always 1; the labels say what runs", ["version", "app"])

_STARTED = Gauge("runstream_start_time_seconds", "When the process started, Unix time", ["app"])

#: What a process's body gets: its settings, its logger, its health, and the stop event to watch.
Body = Callable[[S, logs.Log, health.Health, threading.Event], None]


def run(app: str, model: type[S], parts: tuple[str, ...], body: Body[S]) -> int:
    """Run `body` until it returns or SIGTERM/SIGINT sets the stop event; returns the exit code.

    Once its settings are read, no credential is left in the environment of the process.

    2: a setting is wrong (one line on stderr); 1: the body failed; 0: a clean stop. A second
    signal ends the process at once.
    """
    try:
        loaded, traces = settings.load(model), tracing.load()
    except settings.SettingsError as error:
        print(f"runstream {app}: {error}", file=sys.stderr)
        return 2
    credentials = settings.secret_variables()
    environment.take(lambda name: environment.is_credential(name) or name in credentials)
    environment.forbid_reading()
    try:
        log = logs.configure(loaded, app)
        tracing.begin(traces, loaded.instance, app, log)
    except settings.SettingsError as error:
        print(f"runstream {app}: {error}", file=sys.stderr)
        return 2
    # When each series was made is of use in OpenMetrics only; here it would be one more series.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    _BUILD.labels(version("runstream"), app).set(1)
    _STARTED.labels(app).set(clock.now())
    status = health.Health(parts)
    try:
        server = health.serve(loaded, status, log, DEFAULT_PORTS.get(app, 0))
    except OSError as error:
        print(f"runstream {app}: RUNSTREAM_HTTP_PORT: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise SystemExit(130)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    # Objects of loaded modules stay: the collector need not visit them again. In a process with a
    # hundred thousand executions a full collection every few seconds would take too long.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    log.info("starting")
    try:
        body(loaded, log, status, stop)
    except settings.SettingsError as error:
        print(f"runstream {app}: {error}", file=sys.stderr)
        return 2
    except Exception:
        log.exception("stopped by an error")
        return 1
    finally:
        tracing.end(loaded.drain_seconds)
        if server is not None:
            server.shutdown()
    log.info("stopped")
    return 0
