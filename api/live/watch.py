"""Watch: what a stream says and checks between records: that it lives, and whether it must end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

from api.caller import Caller
from api.live import frames
from api.live.admission import Lease
from api.live.live import Live
from api.live.metrics import Ending
from api.live.subscription import Subscription
from api.live.visibility import reader
from runtime import clock

#: After so long without a word a comment is sent, and the token is looked at again.
BEAT_SECONDS: Final = 15.0
#: The pause after a block, for each stream that is open; and the longest.
PACE_SECONDS: Final = 0.0001
MOST_PACE_SECONDS: Final = 0.1

_TOLD: Final[dict[Ending, str]] = {
    "slow": "you do not read as fast as events come: connect again, and ask for less by filters",
    "token": "your token does not count any more: connect again with a new one",
    "reset": "records were lost before they were read: connect again",
    "stopped": "the API stops: connect again",
    "failed": "the past could not be read: connect again",
}


class Over(Exception):
    """The stream must end now, with this frame."""

    def __init__(self, frame: bytes) -> None:
        """Nothing is sent after it."""
        super().__init__()
        self.frame = frame


class Watch:
    """Of one stream."""

    def __init__(self, live: Live, caller: Caller, lease: Lease) -> None:
        """It begins now."""
        self.live = live
        self.caller = caller
        #: What they may read now.
        self.reader = reader(caller)
        self.lease = lease
        self._restarts = live.hub.restarts
        self._away = False
        self._beat_at = clock.monotonic() + BEAT_SECONDS

    def seconds(self) -> float:
        """Until there is something to say or check."""
        return max(self._beat_at - clock.monotonic(), 0.0)

    async def pace(self) -> None:
        """After something was sent: what comes meanwhile is sent together.

        A block costs some 100 microseconds however little it holds, and many readers share one
        thread.
        """
        await asyncio.sleep(min(PACE_SECONDS * self.live.hub.readers, MOST_PACE_SECONDS))

    def notices(self, beat: Callable[[], bytes]) -> Iterator[bytes]:
        """What there is to say now."""
        away = self.live.hub.away
        if away != self._away:
            self._away = away
            if away:
                told = (
                    "Kafka does not answer: what you see may be old; the stream goes on by itself"
                )
                yield frames.notice("stale", message=told)
            else:
                yield frames.notice("fresh", message="Kafka answers again")
        if self.seconds() <= 0:
            self._beat_at = clock.monotonic() + BEAT_SECONDS
            yield beat()

    def check(self, subscription: Subscription[Any] | None, ident: bytes) -> None:
        """Raises Over where the stream must end now; `ident` is where to go on."""
        if subscription is not None and subscription.overflowed:
            raise Over(self.cut("slow", ident))
        if self.live.stopping:
            raise Over(self.cut("stopped", ident))
        if self.live.hub.restarts != self._restarts:
            raise Over(self.cut("reset", ident))
        if self.seconds() <= 0:
            found = self.live.recheck(self.caller)
            if found is None:
                raise Over(self.cut("token", ident))
            self.caller, self.reader = found, reader(found)

    def cut(self, ending: Ending, ident: bytes, message: str | None = None) -> bytes:
        """The last frame of a stream that ends before its time."""
        self.lease.ending = ending
        return frames.notice(
            "cut", reason=ending, resume=ident.decode(), message=message or _TOLD[ending]
        )
