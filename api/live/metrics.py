"""The metrics of the live part; labels never carry the id of an execution."""

from __future__ import annotations

from typing import Final, Literal, get_args

from prometheus_client import Counter, Gauge, Histogram

StreamKind = Literal["execution", "tenant", "output"]
#: Why a stream ended: it was over, its reader left, did not keep up or took nothing, its token
#: does not count any more, it must begin anew, or the process stops.
Ending = Literal["ended", "left", "slow", "stalled", "token", "reset", "stopped", "failed"]
LiveTopic = Literal["events", "output", "progress"]

READERS: Final = Gauge("runstream_live_readers", "Streams that are open", ["stream"])
ENDINGS: Final = Counter(
    "runstream_live_streams_ended_total", "Streams that have ended, by why", ["stream", "ending"]
)
REFUSED: Final = Counter(
    "runstream_live_streams_refused_total",
    "Streams that were refused since too many are open, of the caller or in all",
    ["limit"],
)
DELAY: Final = Histogram(
    "runstream_live_delay_seconds",
    "From the time of an event until it was handed to a connection, for the oldest of those "
    "that were sent together",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
RECORDS: Final = Counter(
    "runstream_live_records_total", "Records read from the topics for readers", ["topic"]
)
UNREADABLE: Final = Counter(
    "runstream_live_unreadable_records_total", "Records of the event topic that are no events"
)
HELD: Final = Gauge(
    "runstream_live_held_records", "Latest records in memory, for readers that come back", ["topic"]
)
HELD_BYTES: Final = Gauge(
    "runstream_live_held_bytes", "Bytes of the latest records in memory", ["topic"]
)
CATCHING_UP: Final = Gauge(
    "runstream_live_catching_up", "Readers for which older records are read from a topic"
)
AWAY: Final = Gauge("runstream_live_broker_away", "1 while the broker does not answer")

# Every series exists from the start, so that the first of its kind is an increase.
for _stream in get_args(StreamKind):
    READERS.labels(_stream)
    for _ending in get_args(Ending):
        ENDINGS.labels(_stream, _ending)
for _topic in get_args(LiveTopic):
    RECORDS.labels(_topic)
    HELD.labels(_topic)
    HELD_BYTES.labels(_topic)
for _limit in ("caller", "all"):
    REFUSED.labels(_limit)
