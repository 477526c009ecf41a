"""Live: what all streams of the process share; opened once, in its event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from api.caller import Caller
from api.live.admission import Admission
from api.live.history import History
from api.live.hub import Hub
from api.live.reading import Reading
from api.live.rereading import CatchUp
from api.problems import Problem, unavailable
from runtime.logs import Log
from runtime.settings import ApiSettings

if TYPE_CHECKING:
    from api.database import Database

#: How long a new stream waits for the topics to be read after the start of the process.
READY_SECONDS: Final = 5.0

#: The caller with the rights of now; None where their token does not count any more.
Recheck = Callable[[Caller], Caller | None]


@dataclass(slots=True)
class Live:
    """For the thread of the event loop."""

    settings: ApiSettings
    hub: Hub
    history: History
    catch_up: CatchUp
    admission: Admission
    recheck: Recheck
    log: Log
    #: Whether the process stops: every stream ends, and its reader comes back elsewhere or later.
    stopping: bool = False

    async def ready(self) -> None:
        """Wait for the topics; raises Problem 503."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self.hub.ready.wait()
        except TimeoutError:
            raise unreachable() from None

    def stop(self) -> None:
        """End every stream."""
        if not self.stopping:
            self.stopping = True
            self.hub.wake_all()


def unreachable() -> Problem:
    """Neither memory nor topics have what is asked for."""
    return unavailable("Kafka (KAFKA_BOOTSTRAP_SERVERS)", "see that it runs")


@asynccontextmanager
async def opened(
    settings: ApiSettings,
    log: Log,
    database: Database,
    recheck: Recheck,
) -> AsyncIterator[Live]:
    """Follow the topics for as long as the context lasts."""
    hub = Hub()
    reading = Reading(settings, hub, log)
    live = Live(
        settings,
        hub,
        History(settings, database),
        CatchUp(settings),
        Admission(hub, settings.live_streams, settings.live_streams_per_caller),
        recheck,
        log,
    )
    reading.start()
    try:
        yield live
    finally:
        live.stop()
        await reading.stop()
        live.catch_up.close()
        live.history.close()
