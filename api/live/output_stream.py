"""The stream of one output: what an attempt writes, as `tail -f` shows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from confluent_kafka import KafkaException

from api.live import frames
from api.live.hub import EventSubscription, OutputSubscription
from api.live.records import LiveChunk, LiveEvent, one_line
from api.live.rereading import Busy, TooFarBehind
from api.live.watch import Over, Watch
from runtime import clock
from streams.ids import route_of
from streams.lifecycle import TERMINAL_EVENTS
from streams.topics import OUTPUT

StreamName = Literal["stdout", "stderr"]

#: The events that end an attempt, and after which its output is complete soon.
ENDS: Final = frozenset(
    {
        "step.succeeded", "step.polled", "step.failed", "step.timed_out", "step.lost",
        "step.cancelled", "step.late_result",
    }
)  # fmt: skip
#: How long after the end of an attempt its last chunks are waited for.
FINAL_SECONDS: Final = 2.0
_CATCH_UPS: Final = 5
_PIECE_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Which output, and from which chunk on."""

    execution_id: str
    step: str
    attempt: int
    stream: StreamName
    begin: int
    partition: int


class OutputStream:
    """For one reader."""

    def __init__(self, watch: Watch, place: Place, written: int | None) -> None:
        """`written` are the bytes of an attempt that has ended; -1 where nothing says it."""
        self._watch = watch
        self._hub = watch.live.hub
        self._place = place
        self._route = route_of(place.execution_id).encode()
        self._next = place.begin
        #: Bytes of the stream up to the last chunk.
        self._bytes = 0
        self._written = written
        self._news = asyncio.Event()
        self._subscription: OutputSubscription | None = None

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """What is sent, until the attempt has ended and all of its output was."""
        events = self._hub.follow_execution(self._place.execution_id, self._news)
        try:
            yield frames.RETRY + frames.comment("output of one attempt")
            self._look(self._hub.held_events(self._place.partition, self._place.execution_id))
            async for block in self._past():
                yield block
            if self._subscription is not None:
                async for block in self._follow(self._subscription, events):
                    yield block
        except Over as over:
            yield over.frame
        finally:
            self._hub.leave_execution(self._place.execution_id, events)
            if self._subscription is not None:
                self._hub.leave_output(self._route, self._subscription)

    # -- until now -------------------------------------------------------------------------------

    async def _past(self) -> AsyncGenerator[bytes, None]:
        place = self._place
        stored: int | None = None
        is_last = False
        while not is_last:
            page = await self._watch.live.history.chunks(
                place.execution_id, place.step, place.attempt, place.stream, self._next,
                place.partition,
            )  # fmt: skip
            chunks = [
                LiveChunk(place.partition, -1, self._route, value) for _, value in page.chunks
            ]
            for block in frames.blocks(self._frames(chunks)):
                yield block
            stored, is_last = page.stored, page.is_last
            self._watch.check(None, self._ident())
        position = self._hub.output_start(place.partition) if stored is None else stored
        for _ in range(_CATCH_UPS):
            if not self._hub.output_covers(place.partition, position):
                reread = {place.partition: position}
                try:
                    async for block in self._reread(reread):
                        yield block
                except (Busy, TooFarBehind, KafkaException):
                    break
                position = reread[place.partition]
            while self._hub.output_covers(place.partition, position):
                piece = self._hub.chunks(place.partition, position, self._is_ours, _PIECE_BYTES)
                if piece.at_end:
                    self._subscribe()
                position = piece.position
                for block in frames.blocks(self._frames(piece.records)):
                    yield block
                if piece.at_end:
                    return
        yield self._watch.cut("failed", self._ident())

    def _subscribe(self) -> None:
        self._subscription = self._hub.follow_output(self._route, self._is_ours, self._news)

    async def _reread(self, positions: dict[int, int]) -> AsyncGenerator[bytes, None]:
        """What has left the memory since it was stored, from the topic; moves the positions."""
        number = self._place.partition
        async with self._watch.live.catch_up.reading(OUTPUT, positions) as reread:
            while not self._hub.output_covers(number, reread.positions[number]):
                chunks = [
                    LiveChunk(number, message.offset() or 0, self._route, value)
                    for message in await reread.read()
                    if isinstance(value := message.value(), bytes) and message.key() == self._route
                ]
                ours = [chunk for chunk in chunks if self._is_ours(chunk)]
                for block in frames.blocks(self._frames(ours)):
                    yield block
                self._watch.check(None, self._ident())
            positions.update(reread.positions)

    def _is_ours(self, chunk: LiveChunk) -> bool:
        if chunk.route != self._route:
            return False
        said = chunk.place()
        place = self._place
        return said is not None and (
            said.execution_id == place.execution_id
            and said.step == place.step
            and said.attempt == place.attempt
            and said.stream == place.stream
        )

    # -- from now on -----------------------------------------------------------------------------

    async def _follow(
        self, subscription: OutputSubscription, events: EventSubscription
    ) -> AsyncGenerator[bytes, None]:
        until: float | None = None
        while True:
            taken = subscription.take(frames.BLOCK_BYTES)
            block = b"".join(self._frames(taken))
            if block:
                yield block
                until = None
                await self._watch.pace()
            self._look(events.take(_PIECE_BYTES))
            events.take_progress()
            self._watch.check(subscription, self._ident())
            for frame in self._watch.notices(_beat):
                yield frame
            if taken:
                continue
            if self._written is None:
                await subscription.wait(self._watch.seconds())
                continue
            if until is None:
                until = clock.monotonic() + FINAL_SECONDS
            if self._bytes >= self._written >= 0 or clock.monotonic() >= until:
                break
            await subscription.wait(until - clock.monotonic())
        self._watch.lease.ending = "ended"
        yield frames.notice("end", attempt=self._place.attempt, message="the attempt has ended")

    def _look(self, events: Iterable[LiveEvent]) -> None:
        """Whether the attempt has ended, or the whole execution: then no attempt comes any more."""
        place = self._place
        for event in events:
            if event.type in TERMINAL_EVENTS and self._written is None:
                self._written = -1
            if (event.step, event.attempt) == (place.step, place.attempt) and event.type in ENDS:
                said = event.data().get(place.stream)
                found = said.get("bytes") if isinstance(said, dict) else None
                self._written = found if isinstance(found, int) else -1

    # -- both ------------------------------------------------------------------------------------

    def _frames(self, chunks: Iterable[LiveChunk]) -> Iterable[bytes]:
        """Each chunk once: it may lie on the topic twice."""
        for chunk in chunks:
            said = chunk.place()
            if said is None or said.number < self._next:
                continue
            self._next = said.number + 1
            self._bytes = said.begin + said.length
            yield frames.record(self._ident(), one_line(chunk.value))

    def _ident(self) -> bytes:
        return b"%d-%d" % (self._place.attempt, self._next)


def _beat() -> bytes:
    return frames.comment("here")
