"""The stream of one execution: every event from the first on, and its progress, to the end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from typing import Final

import orjson
from confluent_kafka import KafkaException

from api.live import frames
from api.live.beginning import Beginning, readable
from api.live.delays import sent
from api.live.hub import EventSubscription
from api.live.records import LiveEvent, decode, one_line
from api.live.rereading import Busy, TooFarBehind
from api.live.watch import Over, Watch
from api.problems import not_found
from runtime import clock
from streams.lifecycle import TERMINAL_EVENTS
from streams.timestamps import unix
from streams.topics import EVENTS

#: How long an id that nobody has heard of may take to appear.
FIRST_EVENT_SECONDS: Final = 10.0
#: How long after the end the last snapshot is waited for.
FINAL_SECONDS: Final = 2.0
#: How often one reader is read older records for; who needs more does not keep up.
_CATCH_UPS: Final = 5
_PIECE_BYTES: Final = 256 * 1024


class ExecutionStream:
    """For one reader."""

    def __init__(self, watch: Watch, beginning: Beginning) -> None:
        """`beginning` is what is known of the execution."""
        self._watch = watch
        self._hub = watch.live.hub
        self._beginning = beginning
        self._id = beginning.execution_id
        self._partition = beginning.partition
        self._last = beginning.after
        self._position = beginning.position
        self._subscription: EventSubscription | None = None
        #: The event that ended it.
        self._end: LiveEvent | None = None
        self._has_ended = beginning.has_ended
        #: The snapshot that was sent at the beginning.
        self._shown: bytes | None = None
        #: It never appeared, or there is no right to it.
        self._is_over = False

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """What is sent, until there is no more of it."""
        try:
            yield frames.RETRY + frames.comment("events of one execution")
            if self._beginning.is_unknown:
                async for block in self._appear():
                    yield block
            if not self._is_over:
                async for block in self._past():
                    yield block
            if self._subscription is None:
                return
            async for block in self._follow(self._subscription):
                yield block
        except Over as over:
            yield over.frame
        finally:
            if self._subscription is not None:
                self._hub.leave_execution(self._id, self._subscription)

    # -- until now -------------------------------------------------------------------------------

    async def _appear(self) -> AsyncGenerator[bytes, None]:
        """Wait for the first event; without one, or a right to it, the stream is over."""
        news = self._hub.follow_execution(self._id)
        until = clock.monotonic() + FIRST_EVENT_SECONDS
        try:
            origin = self._hub.origins.get(self._id)
            while origin is None and (left := until - clock.monotonic()) > 0:
                self._watch.check(None, self._ident())
                for frame in self._watch.notices(_beat):
                    yield frame
                news.take(_PIECE_BYTES)
                await news.wait(min(left, self._watch.seconds()))
                origin = self._hub.origins.get(self._id)
        finally:
            self._hub.leave_execution(self._id, news)
        if origin is None or not readable(self._watch.caller, origin):
            self._is_over = True
            self._watch.lease.ending = "ended"
            document = not_found("execution of this id").document
            yield frames.named("problem", document.model_dump_json(exclude_none=True).encode())

    async def _past(self) -> AsyncGenerator[bytes, None]:
        """What is stored, then what is not yet, then subscribe; nothing between."""
        progress = self._shown = self._hub.snapshot(self._id)
        if progress is not None:
            yield frames.named("progress", one_line(progress))
        page = self._beginning.page
        while page is not None:
            for block in frames.blocks(self._frames(page.events)):
                yield block
            if page.is_last:
                break
            self._watch.check(None, self._ident())
            page = await self._watch.live.history.events(self._id, self._last, self._partition)
        if page is not None and page.stored is not None:
            self._position = page.stored
        for _ in range(_CATCH_UPS):
            try:
                async for block in self._reread():
                    yield block
            except (Busy, TooFarBehind, KafkaException):
                break
            while self._hub.covers(self._partition, self._position):
                piece = self._hub.events(
                    self._partition, self._position, self._is_ours, _PIECE_BYTES
                )
                if piece.at_end:
                    self._subscription = self._subscribe()
                self._position = piece.position
                for block in frames.blocks(self._frames(piece.records)):
                    yield block
                if self._subscription is not None:
                    return
        yield self._watch.cut("failed", self._ident())

    def _subscribe(self) -> EventSubscription:
        made = self._hub.follow_execution(self._id)
        latest = self._hub.snapshot(self._id)
        if latest is not None and latest is not self._shown:
            # It came while the past was read.
            made.show(latest)
        return made

    async def _reread(self) -> AsyncGenerator[bytes, None]:
        """What has left the memory since it was stored, from the topic."""
        partition = self._partition
        if self._hub.covers(partition, self._position):
            return
        catch_up = self._watch.live.catch_up
        async with catch_up.reading(EVENTS, {partition: self._position}) as reread:
            ident = self._id.encode()
            while not self._hub.covers(partition, reread.positions[partition]):
                found = [
                    decode(value, partition, message.offset() or 0)
                    for message in await reread.read()
                    if isinstance(value := message.value(), bytes) and ident in value
                ]
                ours = [event for event in found if event is not None and self._is_ours(event)]
                for block in frames.blocks(self._frames(ours)):
                    yield block
                self._watch.check(None, self._ident())
            self._position = reread.positions[partition]

    def _is_ours(self, event: LiveEvent) -> bool:
        return event.execution_id == self._id

    # -- from now on -----------------------------------------------------------------------------

    async def _follow(self, subscription: EventSubscription) -> AsyncGenerator[bytes, None]:
        until: float | None = None
        while True:
            self._watch.check(subscription, self._ident())
            for frame in self._watch.notices(_beat):
                yield frame
            taken = subscription.take(frames.BLOCK_BYTES)
            said = list(self._frames(taken))
            progress = subscription.take_progress()
            if progress is not None:
                said.append(frames.named("progress", one_line(progress)))
            if said:
                yield b"".join(said)
                sent(taken)
                await self._watch.pace()
                if taken:
                    continue
            if self._has_ended:
                # Who has seen the end only now waits for the snapshot that says so.
                if until is None:
                    until = clock.monotonic() + (FINAL_SECONDS if self._is_recent() else 0.0)
                if clock.monotonic() >= until or self._is_final(progress):
                    break
                await subscription.wait(until - clock.monotonic())
            else:
                await subscription.wait(self._watch.seconds())
        self._watch.lease.ending = "ended"
        yield frames.notice("end", seq=self._last, message="the execution has ended")

    def _is_recent(self) -> bool:
        return self._end is not None and clock.now() - unix(self._end.at) < 5 * FINAL_SECONDS

    def _is_final(self, progress: bytes | None) -> bool:
        found = progress or self._hub.snapshot(self._id)
        return (
            found is not None
            and self._end is not None
            and orjson.loads(found).get("seq", 0) >= self._end.seq
        )

    # -- both ------------------------------------------------------------------------------------

    def _frames(self, events: Iterable[LiveEvent]) -> Iterable[bytes]:
        """Each event once, in the order of their numbers."""
        for event in events:
            if event.seq <= self._last:
                continue
            if event.seq > self._last + 1:
                yield frames.notice(
                    "gap",
                    first=self._last + 1,
                    last=event.seq - 1,
                    message="these events are neither stored nor on the topic any more",
                )
            self._last = event.seq
            if event.type in TERMINAL_EVENTS:
                self._end = event
                self._has_ended = True
            yield frames.record(b"%d" % event.seq, event.value)

    def _ident(self) -> bytes:
        return b"%d" % self._last


def _beat() -> bytes:
    return frames.comment("here")
