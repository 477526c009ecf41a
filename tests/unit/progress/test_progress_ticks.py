"""What becomes due by time alone is published, and nothing is done while nothing is due."""

from __future__ import annotations

import asyncio
from typing import Any

from processors.progress.transport import Batch
from streams.envelope import Headers
from streams.events import encode_event
from streams.progress import ProgressSnapshot
from tests.unit.progress.histories import Log as History
from tests.unit.progress.projectors import restored_projector


def test_a_state_that_was_held_back_is_published_by_the_next_ticks() -> None:
    published: list[int] = []

    async def delivered() -> None: ...

    async def send(partition: int, key: bytes, value: bytes, headers: Headers) -> Any:
        published.append(ProgressSnapshot.model_validate_json(value).seq)
        return delivered()

    async def scenario() -> None:
        projector = await restored_projector(send)
        log = History()
        log.accept(["a"])
        log.add("execution.started", seconds=0.01)
        for offset, event in enumerate(log.events):
            await projector.process(Batch(0, [(offset, encode_event(event))], 0.0))
        newest = log.events[-1].seq
        assert published == [1]
        for _ in range(10):
            await projector.wait_due()
            await projector.tick()
            if published[-1] == newest:
                break
        assert published == [1, newest]

    asyncio.run(scenario())
