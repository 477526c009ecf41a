"""Queries that panels share; mostly over all processes, since it matters only what they all do.

They take `$__rate_interval`, which Grafana works out from the scrape interval.
"""

from __future__ import annotations

from typing import Any

from deploy.grafana.panels import Panel, panel


def rate(series: str, *by: str) -> str:
    """The increase a second, by these labels."""
    return _sum(f"rate({series}[$__rate_interval])", by)


def total(series: str, *by: str) -> str:
    """The sum over all processes, by these labels."""
    return _sum(series, by)


def quantile(share: float, histogram: str, *by: str) -> str:
    """A quantile of a histogram, by these labels."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', 'le', *by)})"


def _sum(expr: str, by: tuple[str, ...]) -> str:
    return f"sum by ({', '.join(by)}) ({expr})" if by else f"sum({expr})"


def quantiles(title: str, histogram: str, **more: Any) -> Panel:
    """A panel with the median, the 95th and the 99th percentile."""
    shares = (0.5, "p50"), (0.95, "p95"), (0.99, "p99")
    asked = [(quantile(share, histogram), name) for share, name in shares]
    return panel(title, *asked, unit="s", **more)
