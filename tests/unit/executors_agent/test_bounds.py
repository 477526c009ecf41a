"""Slots, leases, the memory of cancels and the limit per target."""

from __future__ import annotations

import asyncio
import queue
import threading
from datetime import UTC, datetime

from processors.executors import lease
from processors.executors.cancellations import Cancellations
from processors.executors.forged_cancels import KEPT_ATTEMPTS, KEPT_EACH, ForgedCancels
from processors.executors.keyed_semaphore import KeyedSemaphore
from processors.executors.slots import Slots
from streams.commands import CancelStep

NOW = datetime(2026, 11, 20, 7, 0, tzinfo=UTC).timestamp()


def cancel(at: float) -> CancelStep:
    return CancelStep(
        execution_id="e",
        step="s",
        attempt=1,
        reason="cancelled",
        at=datetime.fromtimestamp(at, UTC),
    )


def test_slots_are_never_more_than_the_limit_and_wake_the_lane() -> None:
    slots = Slots(2)
    assert slots.wait(0) and slots.free() == 2
    slots.acquire(2)
    assert slots.free() == 0 and slots.busy() == 2
    assert not slots.wait(0.01)
    given = threading.Timer(0.05, slots.release)
    given.start()
    assert slots.wait(5)
    assert slots.free() == 1
    given.join()


def test_slots_lose_no_wake_up_between_two_threads() -> None:
    slots = Slots(3)
    rounds = 5_000
    owed: queue.SimpleQueue[int] = queue.SimpleQueue()

    def loop() -> None:
        for _ in range(rounds):
            owed.get(timeout=5)
            slots.release()

    giver = threading.Thread(target=loop)
    giver.start()
    for _ in range(rounds):
        assert slots.wait(5)
        slots.acquire(1)
        assert slots.busy() <= 3
        owed.put(1)
    giver.join()
    assert slots.busy() == 0


def test_a_lease_holds_until_its_end_and_is_renewed_from_the_writing() -> None:
    held = lease.new_lease(9.0, at=100.0)
    assert held.holds(108.9) and not held.holds(109.0)
    assert not held.heartbeat_due(102.9) and held.heartbeat_due(103.0)
    held.renew(written_at=103.0, now=104.0)
    assert held.holds(111.9) and not held.holds(112.0)
    held.renew(written_at=101.0, now=104.0)
    assert held.holds(111.9)


def test_a_lease_that_is_over_is_not_renewed() -> None:
    held = lease.new_lease(9.0, at=100.0)
    held.renew(written_at=108.0, now=109.5)
    assert not held.holds(109.5)


def test_cancels_are_forgotten_by_age_and_by_number() -> None:
    known = Cancellations(limit=3, kept_seconds=60)
    known.add("old", cancel(NOW - 61), NOW)
    assert known.get("old") is None
    for number in range(5):
        known.add(f"a{number}", cancel(NOW + number), NOW)
    assert len(known) == 3 and known.get("a1") is None and known.get("a4") is not None
    known.expire(NOW + 63)
    assert known.get("a2") is None and known.get("a3") is not None
    assert len(known) == 2


def test_forged_cancels_are_given_out_once_and_bounded() -> None:
    known = ForgedCancels()
    for number in range(KEPT_EACH + 5):
        known.add("a", f"why {number}")
        if number == 1:
            assert known.take("a") == [(1, "why 0"), (2, "why 1")]
    assert [number for number, _ in known.take("a")] == [*range(3, KEPT_EACH + 1)]
    known.add("a", "one more")
    assert known.take("a") == known.take("b") == []
    for number in range(KEPT_ATTEMPTS + 5):
        known.add(f"a{number}", "why")
    assert len(known) == KEPT_ATTEMPTS and known.take("a4") == [] and known.take("a5")


def test_a_target_has_its_limit_and_its_order() -> None:
    async def story() -> list[str]:
        targets = KeyedSemaphore(1)
        order: list[str] = []

        async def act(name: str) -> None:
            await targets.acquire("web-01")
            order.append(name)
            await asyncio.sleep(0)
            targets.release("web-01")

        await targets.acquire("web-01")
        waiting = [asyncio.create_task(act(name)) for name in "abc"]
        await asyncio.sleep(0)
        assert targets.try_acquire("db-01") and not targets.try_acquire("web-01")
        waiting[1].cancel()
        await asyncio.sleep(0)
        targets.release("web-01")
        await asyncio.gather(*waiting, return_exceptions=True)
        targets.release("db-01")
        assert len(targets) == 0
        return order

    assert asyncio.run(story()) == ["a", "c"]


def test_a_permit_given_to_one_who_is_cancelled_goes_to_the_next() -> None:
    async def story() -> None:
        targets = KeyedSemaphore(1)
        await targets.acquire("t")
        first = asyncio.create_task(targets.acquire("t"))
        second = asyncio.create_task(targets.acquire("t"))
        await asyncio.sleep(0)
        targets.release("t")
        first.cancel()
        await asyncio.wait_for(second, 1)
        assert first.cancelled() or first.done()
        targets.release("t")
        assert len(targets) == 0

    asyncio.run(story())
