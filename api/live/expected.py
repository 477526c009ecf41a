"""Expected: the event that answers what the API has asked the router for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from api.live.records import LiveEvent

#: Whether an event is the answer. It is called once for each event of the tenant: keep it cheap,
#: and look at `type` and `execution_id` before `data()`.
Answers = Callable[[LiveEvent], bool]


class Expected:
    """Waits for one event. Enter it before the command is produced, so that none is missed:

        with hub.expect(caller.tenant, answers) as expected:
            await produce(command)
            event = await expected.event(5.0)

    Each is decided in the event loop's thread.
    """

    def __init__(self, answers: Answers, waiting: set[Expected]) -> None:
        """`waiting` are those of the same tenant; nothing is looked at before it is entered."""
        self._answers = answers
        self._waiting = waiting
        self._found: asyncio.Future[LiveEvent] = asyncio.get_running_loop().create_future()

    def __enter__(self) -> Expected:
        """From now on every event is looked at."""
        self._waiting.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is looked at any more."""
        self._waiting.discard(self)
        self._found.cancel()

    async def event(self, seconds: float) -> LiveEvent | None:
        """The first answer; None where none comes within so many seconds."""
        await asyncio.wait({self._found}, timeout=seconds)
        return self._found.result() if self._found.done() else None

    def look(self, event: LiveEvent) -> None:
        """Take the event if it is the answer."""
        if not self._found.done() and self._answers(event):
            self._found.set_result(event)
            self._waiting.discard(self)
