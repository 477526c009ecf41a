"""The producer bridge: an idempotent producer for code that runs on an event loop.

librdkafka hands over delivery reports only where a thread polls for them, and takes the
interpreter lock once per report. A poll thread would compete with a busy loop for that lock, one
switch interval per message, so the loop itself polls, in batches, while anything is in flight.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.envelope import Headers

_SHORTEST: Final = 0.001
_LONGEST: Final = 0.02
#: Nothing is in flight; still polled, since logins with expiring tokens are renewed from a poll.
_IDLE: Final = 0.5

#: The producer failed with these messages in its queue; the broker did not refuse them.
_PURGED: Final = frozenset(
    {KafkaError._FATAL, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._FENCED}
)

#: Called on the loop when the broker took the message (None) or refused it for good.
Delivered = Callable[["DeliveryError | None"], None]
_Record = tuple[str, bytes | None, bytes | None, Headers, "Delivered | None"]


class DeliveryError(Exception):
    """The broker refused a message for good; trying the same message again is of no use now."""

    def __init__(self, error: KafkaError) -> None:
        """Keep the stable name of the error; its text goes into the message."""
        super().__init__(f"{error.name()}: {error.str()}")
        self.code = error.code()
        self.name = error.name()


class PublisherFull(Exception):
    """Too much is in flight; nothing was queued. Await `room` before the next message."""


class Publisher:
    """One producer on one event loop; every method is for that loop's thread only.

    Messages of one key keep their order. A broker that is away is waited for without end: the
    message stays in flight, and `in_flight` (readable from any thread) shows it. A producer that
    has a fatal error is replaced and its messages are sent again, so a reader may see a duplicate.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        max_in_flight: int = 20_000,
        max_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        """`options` are librdkafka's; the limits of its queue are chosen here."""
        self._options = {
            **options,
            "message.timeout.ms": 0,
            # Our own limits come first; a message that was taken is never refused by its queue.
            "queue.buffering.max.messages": max_in_flight + 1_000,
            "queue.buffering.max.kbytes": 2 * max_bytes // 1024 + 16 * 1024,
        }
        self._max_in_flight = max_in_flight
        self._max_bytes = max_bytes
        self._bytes = 0
        self._loop = asyncio.get_running_loop()
        self._producer = Producer(self._options)
        self._broken = False
        self._again: list[_Record] = []
        #: Records of callers that wait in `publish`: as many as there are such callers.
        self._waiting: deque[_Record] = deque()
        self._room: list[asyncio.Future[None]] = []
        self._empty: asyncio.Future[None] | None = None
        self._pause = _IDLE
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(_IDLE, self._serve)
        self._closed = False
        self.in_flight = 0

    async def publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        """Return when the broker has the message; calls are sent in the order they were made.

        Waits while too much is in flight. Raises DeliveryError. A caller that stops waiting does
        not recall the message.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        record = (topic, key, value, headers, partial(_resolve, done))
        if self._full():
            self._waiting.append(record)
        else:
            self._take(record)
        await done

    def publish_soon(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        delivered: Delivered | None = None,
    ) -> None:
        """Queue the message now and report its delivery later; raises PublisherFull."""
        if self._full():
            raise PublisherFull(f"{self.in_flight} messages, {self._bytes} bytes in flight")
        self._take((topic, key, value, headers, delivered))

    async def room(self) -> None:
        """Return at once while there is room, else when enough was delivered."""
        while self._full():
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._room.append(waiter)
            await waiter

    async def flush(self, timeout_seconds: float) -> int:
        """Wait until nothing is in flight or the time is over; returns how many still are."""
        if self.in_flight:
            self._empty = self._empty or self._loop.create_future()
            await asyncio.wait((self._empty,), timeout=timeout_seconds)
        return self.in_flight

    async def close(self, timeout_seconds: float) -> int:
        """Flush and end; returns how many messages were not delivered."""
        left = await self.flush(timeout_seconds)
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if left:
            self._producer.purge()
        return left

    def _take(self, record: _Record) -> None:
        self._produce(record)
        self.in_flight += 1
        self._bytes += len(record[2] or b"")
        if self._pause > _SHORTEST:
            self._pause = _SHORTEST
            self._schedule()

    def _produce(self, record: _Record) -> None:
        topic, key, value, headers, _ = record
        if self._broken:
            self._again.append(record)
            return
        try:
            # By position, which the client parses in half the time of keywords.
            delivered = partial(self._report, record)
            self._producer.produce(topic, value, key, -1, delivered, None, 0, [*headers])
        except KafkaException as error:
            fault: KafkaError = error.args[0]
            if not fault.fatal() and fault.code() not in _PURGED:
                raise DeliveryError(fault) from error
            self._broken = True
            self._again.append(record)

    def _report(self, record: _Record, error: KafkaError | None, message: Message) -> None:
        given_up = error is not None and (error.fatal() or error.code() in _PURGED)
        if given_up and not self._closed:
            self._broken = True
            self._again.append(record)
            return
        self.in_flight -= 1
        self._bytes -= len(record[2] or b"")
        _notify(record, None if error is None else DeliveryError(error))

    def _full(self) -> bool:
        return bool(self._waiting) or not self._fits()

    def _fits(self) -> bool:
        return self.in_flight < self._max_in_flight and self._bytes < self._max_bytes

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._pause, self._serve)

    def _serve(self) -> None:
        served = self._producer.poll(0)
        if self._broken:
            self._replace()
        if not self.in_flight:
            self._pause = _IDLE
        else:
            self._pause = _SHORTEST if served else min(self._pause * 2, _LONGEST)
        self._schedule()
        while self._waiting and self._fits():
            record = self._waiting.popleft()
            try:
                self._take(record)
            except DeliveryError as error:
                _notify(record, error)
        if self._empty is not None and not self.in_flight:
            self._empty.set_result(None)
            self._empty = None
        if self._room and not self._full():
            waiting, self._room = self._room, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)

    def _replace(self) -> None:
        # The old one first reports the messages in its queue as failed, in their order.
        self._producer.purge()
        self._producer.poll(0)
        if len(self._producer):
            return
        self._broken = False
        self._producer = Producer(self._options)
        again, self._again = self._again, []
        for record in again:
            try:
                self._produce(record)
            except DeliveryError as error:
                self.in_flight -= 1
                self._bytes -= len(record[2] or b"")
                _notify(record, error)


def _notify(record: _Record, error: DeliveryError | None) -> None:
    delivered = record[4]
    if delivered is not None:
        delivered(error)


def _resolve(done: asyncio.Future[None], error: DeliveryError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
