"""The stream of an execution, between the past that it reads and the present that it follows."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from api.live.admission import Admission
from api.live.beginning import Beginning
from api.live.execution_stream import ExecutionStream
from api.live.history import EventPage
from api.live.hub import Batch, Hub, Snapshot
from api.live.live import Live
from api.live.records import LiveEvent, decode
from api.live.watch import Watch
from runtime import logs
from runtime.settings import ApiSettings
from streams.events import Event, encode_event
from tests.unit.api.live.test_watch import caller
from tests.unit.progress.histories import EXECUTION, Log


def live_event(event: Event, offset: int) -> LiveEvent:
    found = decode(encode_event(event), 0, offset)
    assert found is not None
    return found


def test_a_snapshot_that_comes_while_the_past_is_read_is_not_lost() -> None:
    async def run() -> None:
        hub = Hub()
        hub.begin([0] * 8, [0] * 8)
        hub.set_ready()
        settings = ApiSettings()
        log = Log()
        log.accept(["a"])
        stored = live_event(log.events[0], -1)
        admission = Admission(hub, 9, 9)
        nothing = cast(Any, None)
        live = Live(
            settings, hub, nothing, nothing, admission, lambda one: one,
            logs.configure(settings, "api"),
        )  # fmt: skip
        watch = Watch(live, caller(), admission.lease("execution", caller()))
        page = EventPage([stored], 0, is_last=True)
        stream = ExecutionStream(watch, Beginning(EXECUTION, 0, 0, page, 0, has_ended=False))
        blocks = stream.blocks()
        assert (await anext(blocks)).startswith(b"retry:")
        assert b'"seq":1' in await anext(blocks)
        # The reader has the past and does not follow yet.
        hub.deliver(Batch(snapshots=[Snapshot(EXECUTION, b'{"seq":1}')]))
        async with asyncio.timeout(5):
            assert await anext(blocks) == b'event: progress\ndata: {"seq":1}\n\n'
        hub.deliver(Batch(snapshots=[Snapshot(EXECUTION, b'{"seq":2}')]))
        async with asyncio.timeout(5):
            assert await anext(blocks) == b'event: progress\ndata: {"seq":2}\n\n'
        await blocks.aclose()

    asyncio.run(run())
