"""What waits for a reader is bounded, and a reader that is late is cut off rather than buffered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from api.live.subscription import Subscription


@dataclass
class Record:
    offset: int
    value: bytes


def test_records_come_in_order_and_in_pieces() -> None:
    one = Subscription[Record](lambda: 100_000)
    for offset in range(10):
        one.add(Record(offset, b"x" * 100))
    taken = [one.take(250), one.take(250), one.take(10), one.take(10_000), one.take(10_000)]
    assert [[record.offset for record in part] for part in taken] == [
        [0, 1], [2, 3], [4], [5, 6, 7, 8, 9], [],
    ]  # fmt: skip
    assert one.is_empty


def test_a_late_reader_overflows_and_holds_nothing_more() -> None:
    one = Subscription[Record](lambda: 1_000)
    for offset in range(1_000):
        one.add(Record(offset, b"x" * 100))
    assert one.overflowed
    assert one.take(10_000) == []
    one.show(b"{}")
    assert one.take_progress() is None


def test_one_record_is_never_too_large() -> None:
    one = Subscription[Record](lambda: 1_000)
    one.add(Record(0, b"x" * 5_000))
    assert not one.overflowed
    assert len(one.take(10)) == 1
    one.add(Record(1, b"x" * 900))
    assert not one.overflowed


def test_only_the_latest_snapshot_waits() -> None:
    one = Subscription[Record](lambda: 1_000)
    one.show(b"1")
    one.show(b"2")
    assert (one.take_progress(), one.take_progress()) == (b"2", None)


def test_waiting_ends_with_news_and_with_time() -> None:
    async def run() -> None:
        one = Subscription[Record](lambda: 1_000)
        loop = asyncio.get_running_loop()
        await one.wait(0.01)
        loop.call_later(0.01, one.add, Record(0, b"x"))
        async with asyncio.timeout(5):
            await one.wait(60)
            assert len(one.take(10)) == 1
        loop.call_later(0.01, one.wake)
        async with asyncio.timeout(5):
            await one.wait(60)

    asyncio.run(run())


def test_two_subscriptions_of_one_reader_share_the_news() -> None:
    async def run() -> None:
        news = asyncio.Event()
        one = Subscription[Record](lambda: 1_000, news=news)
        other = Subscription[Record](lambda: 1_000, news=news)
        asyncio.get_running_loop().call_later(0.01, other.add, Record(0, b"x"))
        async with asyncio.timeout(5):
            await one.wait(60)
        assert not other.is_empty

    asyncio.run(run())
