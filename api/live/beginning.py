"""Beginning: what is known of an execution when a stream of it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg
from confluent_kafka import KafkaException

from api.caller import Caller
from api.live.history import EventPage, Known
from api.live.live import Live, unreachable
from api.live.records import LiveEvent, Origin
from api.live.rereading import Busy
from api.live.visibility import may_read, reader
from api.problems import Problem, not_found
from runtime import clock
from streams.ids import is_execution_id, minted_ms, partition_for, route_of
from streams.lifecycle import ASIDES, ENDED, TERMINAL_EVENTS
from streams.topics import EVENTS

#: An id of this age may be of a request that the router has not answered yet.
_YOUNG_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Beginning:
    """From where on an execution is read, by somebody who may read it."""

    execution_id: str
    partition: int
    #: The number of the last event that the reader has.
    after: int
    #: The first of the events that are stored, where memory does not have them all.
    page: EventPage | None
    #: Where the topic goes on after what is stored.
    position: int
    #: Its terminal event is among what is stored or in memory.
    has_ended: bool
    #: The reader has all of it.
    is_complete: bool = False
    #: Nobody has heard of it, and it may be about to begin.
    is_unknown: bool = False


def readable(caller: Caller, origin: Origin) -> bool:
    """Whether this caller may read an execution of this origin."""
    return may_read(reader(caller), origin)


async def find(live: Live, caller: Caller, execution_id: str, after: int) -> Beginning:
    """What is known; raises Problem where there is nothing that the caller may see."""
    if not is_execution_id(execution_id):
        raise not_found("execution of this id")
    await live.ready()
    partition = partition_for(route_of(execution_id).encode(), EVENTS.partitions)
    held = live.hub.held_events(partition, execution_id)
    origin = live.hub.origins.get(execution_id)
    if origin is not None and held and held[0].seq <= after + 1 and _tells_end(held):
        _require(caller, origin)
        has_ended = any(event.type in TERMINAL_EVENTS for event in held)
        is_complete = has_ended and held[-1].seq <= after
        position = held[0].offset
        return Beginning(execution_id, partition, after, None, position, has_ended, is_complete)
    try:
        known = await live.history.execution(execution_id)
        page = await live.history.events(execution_id, after, partition)
    except psycopg.OperationalError:
        # Without Postgres the topic has it all, where memory knows whose it is.
        if origin is None:
            raise
        known, page = Known(origin, None), EventPage([], None, is_last=True)
    if known is None or known.origin.tenant is None:
        if held or clock.now() - minted_ms(execution_id) / 1_000 < _YOUNG_SECONDS:
            return _unknown(live, execution_id, partition, after, bool(held))
        raise not_found("execution of this id")
    live.hub.origins.put(execution_id, known.origin)
    _require(caller, known.origin)
    stored = page.stored
    if stored is None:
        stored = await _by_time(live, execution_id, partition)
    has_ended = known.status in ENDED
    newer = any(event.seq > after for event in held)
    is_complete = has_ended and not page.events and not newer
    return Beginning(execution_id, partition, after, page, stored, has_ended, is_complete)


def _tells_end(held: list[LiveEvent]) -> bool:
    """Whether these events say if the execution has ended: only asides follow a terminal one."""
    return held[0].seq == 1 or any(event.type not in ASIDES for event in held)


def _unknown(
    live: Live, execution_id: str, partition: int, after: int, is_heard_of: bool
) -> Beginning:
    if is_heard_of:
        told = "the execution is not stored yet, and its first event left the memory: try again"
        raise Problem(503, "unavailable", told, headers={"Retry-After": "2"})
    position = live.hub.position(partition)
    return Beginning(execution_id, partition, after, None, position, False, is_unknown=True)


def _require(caller: Caller, origin: Origin) -> None:
    if not readable(caller, origin):
        raise not_found("execution of this id")


async def _by_time(live: Live, execution_id: str, partition: int) -> int:
    """Where the events of that time begin: nobody has stored them."""
    try:
        return await live.catch_up.offset_at(EVENTS, partition, minted_ms(execution_id))
    except (Busy, KafkaException):
        raise unreachable() from None
