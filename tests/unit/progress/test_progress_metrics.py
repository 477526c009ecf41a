"""What the projector tells Prometheus."""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client import REGISTRY

from processors.progress import metrics
from processors.progress.transport import Batch
from streams.events import encode_event
from streams.lifecycle import ENDED, TRANSITIONS
from tests.unit.progress.histories import Log as History
from tests.unit.progress.projectors import restored_projector


def executions(status: str) -> float | None:
    return REGISTRY.get_sample_value("runstream_executions", {"status": status})


def test_labelled_series_exist_before_anything_has_happened() -> None:
    for outcome in ("folded", "gap", "duplicate", "after_end", "unknown", "poison"):
        labels = {"outcome": outcome}
        assert REGISTRY.get_sample_value("runstream_projector_events_total", labels) is not None
    assert set(metrics.EXECUTIONS_BY_STATUS) == TRANSITIONS.keys() - ENDED


def test_executions_are_shown_by_status_until_they_end() -> None:
    async def sent() -> None: ...

    async def send(*record: Any) -> Any:
        return sent()

    async def scenario() -> None:
        projector = await restored_projector(send)
        log = History()
        log.accept(["a"])
        await projector.process(Batch(0, [(0, encode_event(log.events[-1]))], 0.0))
        await projector.tick()
        assert (executions("approved"), executions("running")) == (1, 0)
        await projector.process(Batch(0, [(1, encode_event(log.add("execution.started")))], 0.0))
        await projector.tick()
        assert (executions("approved"), executions("running")) == (0, 1)
        await projector.process(Batch(0, [(2, encode_event(log.add("execution.failed")))], 0.0))
        await projector.tick()
        assert (executions("approved"), executions("running")) == (0, 0)

    asyncio.run(scenario())
