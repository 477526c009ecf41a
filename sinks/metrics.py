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
LAG = Gauge("runstream_sink_lag_records", "Records between the sink and the end", ["topic"])

for _kind in ("event", "output", "dead_letter"):
    ROWS.labels(_kind)
