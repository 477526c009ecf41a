"""The sink and the projector: how far they are behind the events."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import Dashboard, panel
from deploy.grafana.queries import quantiles, rate, total

STORAGE: Final = Dashboard(
    "runstream-storage",
    "Runstream: sink and projector",
    (
        (
            "Sink",
            (
                panel("Rows a second", (rate("runstream_sink_rows_total", "kind"), "{{kind}}")),
                quantiles("From the topic to Postgres", "runstream_sink_delay_seconds"),
                quantiles("Time of a batch", "runstream_sink_batch_seconds"),
                panel(
                    "Age of the oldest record in hand",
                    ("max(runstream_sink_behind_seconds)", "age"),
                    unit="s",
                    worse_from=30,
                ),
                panel(
                    "Lag in records",
                    (
                        total('runstream_consumer_lag_records{group="runstream-sink"}', "topic"),
                        "{{topic}}",
                    ),
                    worse_from=1_000,
                ),
            ),
        ),
        (
            "Projector",
            (
                panel(
                    "Events folded a second",
                    (rate("runstream_projector_events_total", "outcome"), "{{outcome}}"),
                ),
                quantiles("From the topic to the fold", "runstream_projector_delay_seconds"),
                panel(
                    "Snapshots a second", (rate("runstream_projector_snapshots_total"), "snapshots")
                ),
                panel(
                    "Age of the newest event when it was folded",
                    ("max(runstream_projector_behind_seconds)", "age"),
                    unit="s",
                ),
                panel(
                    "Lag in records",
                    (
                        total('runstream_consumer_lag_records{group="runstream-projector"}'),
                        "events",
                    ),
                    worse_from=1_000,
                ),
            ),
        ),
    ),
)
