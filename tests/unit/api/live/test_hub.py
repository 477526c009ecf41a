"""The hub gives records to those who follow them, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from api.live import held
from api.live.held import Latest
from api.live.hub import Batch, Hub, Snapshot
from api.live.records import LiveChunk, LiveEvent, decode
from streams.events import Event, encode_event
from streams.topics import EVENTS, OUTPUT
from tests.unit.progress.histories import Log

OTHER = "018f3c1e-0000-8000-8000-0000deadbe00"


def event(given: Event, partition: int = 0, offset: int = 0) -> LiveEvent:
    found = decode(encode_event(given), partition, offset)
    assert found is not None
    return found


def with_hub(test: Callable[[Hub], Awaitable[None]]) -> None:
    async def run() -> None:
        hub = Hub()
        hub.begin([0] * EVENTS.partitions, [0] * OUTPUT.partitions)
        hub.set_ready()
        await test(hub)

    asyncio.run(run())


def test_records_go_to_their_execution_and_tenant() -> None:
    async def test(hub: Hub) -> None:
        log, other = Log(), Log(OTHER)
        mine, theirs = hub.follow_execution(log.add("execution.queued").execution_id), Log(OTHER)
        del theirs
        tenant = hub.follow_tenant("acme", lambda one: one.type != "execution.started")
        stranger = hub.follow_tenant("other", lambda one: True)
        other.add("execution.queued")
        log.add("execution.started")
        hub.deliver(
            Batch(
                events=[
                    event(log.events[0], 0, 4), event(other.events[0], 1, 9),
                    event(log.events[1], 0, 6),
                ],
                snapshots=[Snapshot(OTHER, b"{}"), Snapshot(log.events[0].execution_id, b"[]")],
            )
        )  # fmt: skip
        assert [one.seq for one in mine.take(10_000)] == [1, 2]
        assert mine.take_progress() == b"[]"
        taken = tenant.take(10_000)
        assert [one.cursor for one in taken] == [b"5.0.0.0.0.0.0.0", b"5.a.0.0.0.0.0.0"]
        assert stranger.is_empty
        assert hub.cursor().text() == b"7.a.0.0.0.0.0.0"
        hub.leave_tenant("acme", tenant)
        hub.leave_tenant("acme", tenant)
        hub.deliver(Batch(events=[event(log.events[0], 0, 7)]))
        assert tenant.is_empty

    with_hub(test)


def test_output_goes_to_those_of_its_route() -> None:
    async def test(hub: Hub) -> None:
        news = asyncio.Event()
        mine = hub.follow_output(b"0a", lambda chunk: chunk.offset != 3, news)
        chunks = [
            LiveChunk(2, offset, route, b"one")
            for offset, route in ((1, b"0a"), (2, b"0b"), (3, b"0a"))
        ]
        hub.deliver(Batch(chunks=chunks))
        assert [chunk.value for chunk in mine.take(1_000)] == [b"one"]
        assert news.is_set()
        piece = hub.chunks(2, 2, lambda chunk: True, 1_000)
        assert [chunk.offset for chunk in piece.records] == [2, 3]

    with_hub(test)


def test_what_waits_for_all_readers_is_bounded() -> None:
    async def test(hub: Hub) -> None:
        log = Log()
        value = event(log.add("execution.queued"))
        for readers, most in ((1, 4 << 20), (512, 1 << 20), (100_000, 256 << 10)):
            hub.readers = readers
            one = hub.follow_tenant("acme", lambda found: True)
            size = 0
            while not one.overflowed:
                hub.deliver(Batch(events=[value] * 100))
                size += 100 * (len(value.value) + 64)
            hub.leave_tenant("acme", one)
            assert most < size < most * 1.2

    with_hub(test)


def test_the_latest_values_are_bounded_by_number_and_bytes() -> None:
    few: Latest[bytes] = Latest(3, 1_000)
    for number in range(5):
        few.put(str(number), b"x" * 10)
    assert [few.get(str(number)) is not None for number in range(5)] == [False] * 2 + [True] * 3
    few.put("2", b"y" * 990)
    assert (few.get("3"), few.get("2")) == (None, b"y" * 990)
    assert few.bytes == 1_000
    few.drop("2")
    few.drop("2")
    assert (len(few), few.bytes) == (1, 10)


def test_the_memory_of_the_hub_is_what_the_documents_say() -> None:
    total = EVENTS.partitions * held.EVENT_BYTES + OUTPUT.partitions * held.OUTPUT_BYTES
    assert total + held.SNAPSHOT_BYTES == 128 * 1024 * 1024
