"""The metrics of the sink."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ROWS = Counter(
    "runstream_sink_rows_total", "Records stored in Postgres, repeated ones included", ["kind"]
)
BATCH = Histogram(
    "runstream_sink_batch_seconds",
    "Duration of one batch, from the last record read to the commit",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 1, 2, 5),
)
DELAY = Histogram(
    "runstream_sink_delay_seconds",
    "Age of the oldest record of each batch when its rows were committed, by the broker's clock",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 1, 2, 5, 10, 30, 60, 300, 900),
)
BEHIND = Gauge(
    "runstream_sink_behind_seconds",
    "Age of the oldest record that was read last, until it is stored and there is none to read",
)

for _kind in ("event", "output", "dead_letter"):
    ROWS.labels(_kind)
