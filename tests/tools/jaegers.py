"""A real Jaeger with everything in memory: what tests report to it, they ask it for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.ports import free_port
from tests.tools.built import built
from tests.tools.running import listens, server

_LISTENERS = (
    *("query.http-server", "query.grpc-server", "admin.http", "collector.otlp.http"),
    *("collector.otlp.grpc", "collector.http-server", "collector.grpc-server"),
)


@contextmanager
def jaeger_server(log: Path, taking: int | None = None) -> Iterator[tuple[str, str]]:
    """Where it answers and where it takes spans (OTLP over HTTP), at the port `taking` if given.

    Skips the test where it was not built.
    """
    daemon = built("jaeger-all-in-one")
    ports = {name: free_port() for name in _LISTENERS}
    ports["collector.otlp.http"] = taking or ports["collector.otlp.http"]
    argv = [
        daemon,
        *(f"--{name}.host-port=127.0.0.1:{port}" for name, port in ports.items()),
    ]
    query, otlp = ports["query.http-server"], ports["collector.otlp.http"]
    with server(
        argv,
        lambda: listens(query) and listens(otlp),
        log,
        {"OTEL_TRACES_SAMPLER": "always_off"},
    ):
        yield f"http://127.0.0.1:{query}", f"http://127.0.0.1:{otlp}"
