"""Readiness probes of processes."""

from __future__ import annotations

import http.client
from collections.abc import Callable

Probe = Callable[[], bool]


def http_ready(port: int) -> Probe:
    """Whether `/readyz` on this loopback port answers 200."""

    def probe() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return probe
