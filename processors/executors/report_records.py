"""Reports that are sent together: those for one partition of the router share records."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from processors.executors.reports import Record
from streams import report_lines
from streams.ids import partition_for
from streams.report_lines import MAX_LINE_BYTES, MAX_LINES
from streams.topics import ROUTER_PARTITIONS


def together(made: Sequence[Record]) -> list[Record]:
    """The same reports in as few records as possible; of one partition they keep their order.

    A report of more than MAX_LINE_BYTES has a record of its own. A record with several has the key
    and the headers of its first report, but for what these say of that report alone.
    """
    if len(made) < 2:
        return list(made)
    found: list[list[Record]] = []
    filling: dict[int, list[Record]] = {}
    for record in made:
        key, value, _ = record
        partition = _partition(key)
        shared = filling.get(partition)
        if len(value) > MAX_LINE_BYTES:
            filling.pop(partition, None)
            found.append([record])
        elif shared is None or len(shared) == MAX_LINES:
            filling[partition] = [record]
            found.append(filling[partition])
        else:
            shared.append(record)
    return [_joined(records) for records in found]


def count(record: Record) -> int:
    """How many reports a record holds: JSON as it is written here has no line feed."""
    return record[1].count(b"\n") + 1


def _joined(records: Sequence[Record]) -> Record:
    if len(records) == 1:
        return records[0]
    key, _, headers = records[0]
    value = report_lines.join([value for _, value, _ in records])
    return key, value, report_lines.headers_of(headers, len(records))


@lru_cache(maxsize=10_000)
def _partition(key: bytes) -> int:
    return partition_for(key, ROUTER_PARTITIONS)
