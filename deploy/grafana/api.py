"""The HTTP API: what is asked of it, and the streams that it keeps open."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import Dashboard, panel
from deploy.grafana.queries import quantile, quantiles, rate, total

API: Final = Dashboard(
    "runstream-api",
    "Runstream: API and live streams",
    (
        (
            "Requests",
            (
                panel(
                    "Answers a second",
                    (rate("runstream_api_requests_total", "status"), "{{status}}"),
                    stacked=True,
                ),
                panel(
                    "Slowest paths, 95th percentile",
                    (
                        f"topk(10, {quantile(0.95, 'runstream_api_request_seconds', 'route')})",
                        "{{route}}",
                    ),
                    unit="s",
                ),
                panel(
                    "Not answered whole yet",
                    (total("runstream_api_requests_active"), "requests"),
                ),
            ),
        ),
        (
            "Live streams",
            (
                panel("Open streams", (total("runstream_live_readers", "stream"), "{{stream}}")),
                quantiles("From an event to its readers", "runstream_live_delay_seconds"),
                panel(
                    "Streams ended in 10 minutes",
                    (
                        "sum by (ending) (increase(runstream_live_streams_ended_total[10m]))",
                        "{{ending}}",
                    ),
                ),
                panel(
                    "Records read for readers a second",
                    (rate("runstream_live_records_total", "topic"), "{{topic}}"),
                ),
                panel(
                    "Held for readers that come back",
                    (total("runstream_live_held_bytes", "topic"), "{{topic}}"),
                    unit="bytes",
                ),
                panel(
                    "Streams refused in 10 minutes",
                    (
                        "sum by (limit) (increase(runstream_live_streams_refused_total[10m]))",
                        "{{limit}}",
                    ),
                    worse_from=1,
                ),
            ),
        ),
    ),
)
