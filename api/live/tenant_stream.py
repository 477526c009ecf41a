"""The stream of a tenant: every event that the caller may read, from a place on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Final

import psycopg
from confluent_kafka import KafkaException

from api.live import frames
from api.live.cursor import Cursor
from api.live.delays import sent
from api.live.hub import EventSubscription
from api.live.records import LiveEvent, Origin, decode
from api.live.rereading import Busy, TooFarBehind
from api.live.visibility import Filter, may_read
from api.live.watch import Over, Watch
from streams.topics import EVENTS

_PIECE_BYTES: Final = 256 * 1024
#: How often one reader is read older records for; who needs more does not keep up.
_CATCH_UPS: Final = 5
#: How often, and how long after, Postgres is asked whose an execution is that began before memory.
_QUESTIONS: Final = 5
_QUESTION_SECONDS: Final = 0.5
#: How often, and how long after, it is looked whether the hub has what the reader has.
_LEAD_LOOKS: Final = 20
_LEAD_SECONDS: Final = 0.05


class TenantStream:
    """For one reader."""

    def __init__(self, watch: Watch, wanted: Filter, resume: Cursor | None) -> None:
        """Begin at `resume`, or now."""
        self._watch = watch
        self._hub = watch.live.hub
        self._tenant = watch.caller.tenant
        self._wanted = wanted
        self._cursor = self._hub.cursor() if resume is None else resume
        #: The place after what was sent: where the reader goes on if it ends now.
        self._ident = self._cursor.text()
        self._subscription: EventSubscription | None = None
        #: Whether the place was compared with the ends of the topic.
        self._is_checked = False
        #: Whether the reader has events that the hub has not seen yet: their place came from
        #: another API, or from the topic itself.
        self._is_ahead = False

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """What is sent, until the reader must connect again."""
        try:
            yield frames.RETRY + frames.comment("events of one tenant") + frames.place(self._ident)
            async for block in self._past():
                yield block
            if self._subscription is not None:
                async for block in self._follow(self._subscription):
                    yield block
        except Over as over:
            yield over.frame
        except psycopg.Error:
            told = "Postgres does not answer, and says what you may read: connect again"
            yield self._watch.cut("failed", self._ident, told)
        finally:
            if self._subscription is not None:
                self._hub.leave_tenant(self._tenant, self._subscription)

    # -- until now -------------------------------------------------------------------------------

    async def _past(self) -> AsyncGenerator[bytes, None]:
        await self._wait_for_hub()
        for _ in range(_CATCH_UPS):
            try:
                async for block in self._reread():
                    yield block
            except TooFarBehind:
                # The place is reset and everything from there on is followed without an await.
                self._cursor = self._hub.cursor()
                self._subscribe()
                told = (
                    "too many records lie between, or they have expired: list the executions "
                    "(GET /v1/executions) for what has changed; the stream goes on from now"
                )
                self._ident = self._cursor.text()
                yield frames.notice("reset", message=told) + frames.place(self._ident)
                return
            except (Busy, KafkaException):
                break
            while self._is_covered():
                found, at_end = self._piece()
                if at_end:
                    self._subscribe()
                place = self._cursor.text()
                for block in frames.blocks(await self._placed(found)):
                    yield block
                self._ident = place
                if at_end:
                    return
        yield self._watch.cut("failed", self._ident)

    async def _wait_for_hub(self) -> None:
        """A reader that comes from another API may be some milliseconds ahead of this one."""
        for _ in range(_LEAD_LOOKS):
            if not self._leads():
                return
            await asyncio.sleep(_LEAD_SECONDS)

    def _to_read(self) -> dict[int, int]:
        """Where partitions have to be read from the topic, or at least looked at, first."""
        return {
            partition: position
            for partition, position in enumerate(self._cursor.positions)
            if not self._hub.covers(partition, position)
            or (not self._is_checked and self._hub.position(partition) < position)
        }

    def _is_covered(self) -> bool:
        return all(self._hub.covers(*place) for place in enumerate(self._cursor.positions))

    def _subscribe(self) -> None:
        self._subscription = self._hub.follow_tenant(
            self._tenant, self._wanted.wants if self._wanted.narrows else None
        )
        self._is_ahead = self._leads()

    def _leads(self) -> bool:
        return any(
            position > self._hub.position(partition)
            for partition, position in enumerate(self._cursor.positions)
        )

    def _piece(self) -> tuple[list[LiveEvent], bool]:
        """Events in memory from the cursor on, and whether these are all, without an await."""
        found: list[LiveEvent] = []
        at_end = True
        for partition, position in enumerate(self._cursor.positions):
            piece = self._hub.events(partition, position, self._is_ours, _PIECE_BYTES)
            for event in piece.records:
                self._cursor.move(partition, event.offset + 1)
                event_cursor = self._cursor.text()
                found.append(_at(event, event_cursor))
            self._cursor.move(partition, piece.position)
            at_end = at_end and piece.at_end
        return found, at_end

    async def _reread(self) -> AsyncGenerator[bytes, None]:
        """What has left the memory, from the topic."""
        behind = self._to_read()
        if not behind:
            return
        self._is_checked = True
        tenant = self._tenant.encode()
        async with self._watch.live.catch_up.reading(EVENTS, behind) as reread:
            while not all(self._hub.covers(*place) for place in reread.positions.items()):
                found: list[LiveEvent] = []
                for message in await reread.read():
                    partition, offset = message.partition() or 0, message.offset() or 0
                    value = message.value()
                    self._cursor.move(partition, offset + 1)
                    if not isinstance(value, bytes) or tenant not in value:
                        continue
                    event = decode(value, partition, offset)
                    if event is not None and self._is_ours(event):
                        if event.origin is not None:
                            self._hub.origins.put(event.execution_id, event.origin)
                        event.cursor = self._cursor.text()
                        found.append(event)
                for block in frames.blocks(await self._placed(found)):
                    yield block
                self._ident = self._cursor.text()
                self._watch.check(None, self._ident)
            for partition, position in reread.positions.items():
                self._cursor.move(partition, position)

    def _is_ours(self, event: LiveEvent) -> bool:
        return event.tenant == self._tenant and self._wanted.wants(event)

    # -- from now on -----------------------------------------------------------------------------

    async def _follow(self, subscription: EventSubscription) -> AsyncGenerator[bytes, None]:
        while True:
            taken = self._unsent(subscription)
            if taken:
                block = b"".join(await self._placed(taken))
                if block:
                    yield block
                    sent(taken)
                self._ident = taken[-1].cursor
                await self._watch.pace()
            self._watch.check(subscription, self._ident)
            for frame in self._watch.notices(lambda: self._beat(subscription)):
                yield frame
            if not taken:
                await subscription.wait(self._watch.seconds())

    def _unsent(self, subscription: EventSubscription) -> list[LiveEvent]:
        """What the reader has not got yet, each with a place behind no other one."""
        if self._is_ahead and subscription.is_empty:
            self._is_ahead = self._leads()
        taken = subscription.take(frames.BLOCK_BYTES)
        if not self._is_ahead:
            return taken
        found = []
        for event in taken:
            if event.offset >= self._cursor.positions[event.partition]:
                self._cursor.move(event.partition, event.offset + 1)
                found.append(_at(event, self._cursor.text()))
        return found

    def _beat(self, subscription: EventSubscription) -> bytes:
        """That it lives; who has everything stands where the hub does."""
        if subscription.is_empty:
            now = self._hub.cursor()
            if self._is_ahead:
                for partition, position in enumerate(self._cursor.positions):
                    now.move(partition, max(position, now.positions[partition]))
                self._cursor = now
            self._ident = now.text()
        return frames.comment("here") + frames.place(self._ident)

    # -- both ------------------------------------------------------------------------------------

    async def _placed(self, events: list[LiveEvent]) -> Iterable[bytes]:
        """Those that the caller may read, each with the place after it."""
        allowed = await self._allowed(events)
        return [frames.record(event.cursor, event.value) for event in allowed]

    async def _allowed(self, events: list[LiveEvent]) -> list[LiveEvent]:
        who = self._watch.reader
        if not events or (who.everything and not self._wanted.needs_origin):
            return events
        origins = await self._origins({event.execution_id for event in events})
        return [
            event
            for event in events
            if (origin := origins.get(event.execution_id)) is not None
            and may_read(who, origin)
            and self._wanted.wants_of(origin)
        ]

    async def _origins(self, idents: set[str]) -> dict[str, Origin]:
        """Whose executions these are: from memory, else from Postgres."""
        known = self._hub.origins
        found = {ident: origin for ident in idents if (origin := known.get(ident)) is not None}
        for question in range(_QUESTIONS):
            missing = [ident for ident in idents if ident not in found]
            if not missing:
                break
            if question:
                # The sink may not have stored it yet.
                await asyncio.sleep(_QUESTION_SECONDS)
            for ident, origin in (await self._watch.live.history.origins(missing)).items():
                known.put(ident, origin)
                found[ident] = origin
        return found


def _at(event: LiveEvent, cursor: bytes) -> LiveEvent:
    """The same event for a reader that stands elsewhere in the other partitions."""
    return LiveEvent(
        event.partition, event.offset, event.execution_id, event.tenant, event.seq, event.type,
        event.at, event.step, event.attempt, event.value, event.origin, cursor,
    )  # fmt: skip
