"""Reports that are sent together: all of them, in their order, in few records of bounded size."""

from __future__ import annotations

from collections import defaultdict

import orjson
from hypothesis import given
from hypothesis import strategies as st

from processors.executors.report_records import count, together
from processors.executors.reports import Record
from streams import report_lines
from streams.ids import partition_for, route_of
from streams.report_lines import MAX_LINE_BYTES, MAX_LINES
from streams.topics import REPORTS
from tests.unit.executors_agent.test_reports import COMMAND, MAKER

SIZES = st.sampled_from([1, 100, MAX_LINE_BYTES - 400, MAX_LINE_BYTES, 100_000])
MADE = st.lists(st.tuples(st.integers(0, 40), SIZES), max_size=30)


def record(route: int, size: int, number: int) -> Record:
    command = COMMAND.model_copy(update={"execution_id": f"{route:08x}{COMMAND.execution_id[8:]}"})
    return MAKER.record(command, "succeeded", "t", None, number, output="x" * size)


def lines(records: list[Record]) -> dict[int, list[bytes]]:
    """By partition what its records hold, in their order."""
    found: dict[int, list[bytes]] = defaultdict(list)
    for one in records:
        key, value, headers = one
        held = report_lines.split(value, headers) or [value]
        assert len(held) == count(one) <= MAX_LINES
        assert len(held) == 1 or all(len(line) <= MAX_LINE_BYTES for line in held)
        found[partition_for(key, REPORTS.partitions)] += held
    return found


@given(MADE)
def test_each_partition_gets_its_reports_in_their_order(made: list[tuple[int, int]]) -> None:
    records = [record(route, size, number) for number, (route, size) in enumerate(made)]
    found = together(records)
    assert lines(found) == lines(records)
    for partition, held in lines(found).items():
        for line in held:
            route = route_of(orjson.loads(line)["execution_id"]).encode()
            assert partition_for(route, REPORTS.partitions) == partition
    assert len({dict(headers)["ce_id"] for _, _, headers in found}) == len(found)


def test_small_reports_of_one_partition_share_records() -> None:
    records = [record(7, 10, number) for number in range(MAX_LINES + 2)]
    assert [count(one) for one in together(records)] == [MAX_LINES, 2]


def test_one_report_is_sent_as_it_is() -> None:
    one = record(1, 1, 0)
    assert together([one]) == [one]
    assert together([]) == []
