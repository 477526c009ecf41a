"""A projector without a broker, whose partition 0 is empty."""

from __future__ import annotations

from typing import Any, cast

from processors.progress.history import DurationHistory
from processors.progress.last_hour import LastHour
from processors.progress.projector import Projector, Send
from processors.progress.records import StateBuilder
from processors.progress.transport import OffsetRange
from runtime.health import Health
from runtime.logs import Log


class Silent:
    """A logger that drops its lines."""

    def info(self, *args: Any, **fields: Any) -> None: ...

    def warning(self, *args: Any, **fields: Any) -> None: ...

    def exception(self, *args: Any, **fields: Any) -> None: ...


async def restored_projector(send: Send) -> Projector:
    """A projector that publishes through `send` and has restored an empty partition 0."""

    async def stored(partitions: list[int], history: DurationHistory) -> dict[int, StateBuilder]:
        return {partition: StateBuilder(history) for partition in partitions}

    projector = Projector(
        cast(Log, Silent()), Health(("kafka", "publish")), LastHour(), stored, send
    )
    await projector.restore({0: OffsetRange(0, 0)})
    return projector
