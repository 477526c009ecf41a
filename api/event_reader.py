"""The reader of `execution.events`: one thread, and whoever waits for an answer is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from api.problems import Problem, unavailable
from runtime.kafka import clients
from runtime.kafka.outage import Outage
from runtime.kafka.restore import end_offsets
from runtime.readiness import Readiness
from runtime.settings import CommonSettings
from streams.events import Event, decode_event
from streams.ids import partition_for
from streams.topics import EVENTS

T = TypeVar("T")

_WAIT_SECONDS: Final = 0.2
_BATCH: Final = 500
#: Who waits at once; each waits for 30 s at most.
MAX_WATCHES: Final = 200
#: Events that one who waits has not looked at yet; with more of them its wait ends.
MAX_HELD: Final = 2_000


class _Watch:
    """The events of one partition for one who waits."""

    def __init__(self, partition: int, marks: Iterable[str]) -> None:
        self.partition = partition
        #: As they stand in JSON: an event without any of them need not be read.
        self.marks = tuple(json.dumps(one, ensure_ascii=False)[1:-1].encode() for one in marks)
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue(MAX_HELD)
        self._lost = False

    async def first(self, wanted: Callable[[Event], T | None], seconds: float) -> T | None:
        """See `api.answers.Watch`."""
        try:
            async with asyncio.timeout(seconds):
                while not self._lost:
                    found = wanted(await self._events.get())
                    if found is not None:
                        return found
        except TimeoutError:
            return None
        return None

    def tell(self, event: Event) -> None:
        """From the reader's thread."""
        try:
            self._loop.call_soon_threadsafe(self._take, event)
        except RuntimeError:
            # The loop has ended; nobody waits any more.
            return

    def _take(self, event: Event) -> None:
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            self._lost = True


class EventReader:
    """Reads every partition from its end on; safe to open before the broker is there."""

    def __init__(self, settings: CommonSettings, readiness: Readiness) -> None:
        """Nothing is connected before `open`; it is the member `events` of `readiness`."""
        self._settings = settings
        self._outage = Outage(readiness, "events")
        self._lock = threading.Lock()
        self._watches: set[_Watch] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._count = EVENTS.partitions

    def open(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._end.set()
        self._thread.join()

    @asynccontextmanager
    async def watch(self, route: str, *marks: str) -> AsyncIterator[_Watch]:
        """See `api.answers.Answers`."""
        if self._outage.is_waiting:
            raise unavailable("Kafka (KAFKA_BOOTSTRAP_SERVERS)", "see that it runs")
        found = _Watch(partition_for(route.encode(), self._count), marks)
        with self._lock:
            if len(self._watches) >= MAX_WATCHES:
                told = f"{MAX_WATCHES} requests wait for routers already: try again, or with wait=0"
                raise Problem(503, "busy", told, headers={"Retry-After": "1"})
            self._watches.add(found)
        try:
            yield found
        finally:
            with self._lock:
                self._watches.discard(found)

    def _run(self) -> None:
        while not self._end.is_set():
            consumer: Any = None
            try:
                name = clients.topic_name(self._settings, EVENTS)
                consumer = Consumer(clients.reader(self._settings))
                topic = consumer.list_topics(name, timeout=5.0).topics[name]
                self._count = len(topic.partitions) or self._count
                ends = end_offsets(self._settings, name, range(self._count))
                consumer.assign([TopicPartition(name, one, at) for one, at in ends.items()])
                self._outage.recovered()
                self._read(consumer)
            except KafkaException as error:
                self._end.wait(self._outage.failed(error.args[0]))
            finally:
                if consumer is not None:
                    consumer.close()

    def _read(self, consumer: Any) -> None:
        """Until the end, or an error that reading does not survive."""
        while not self._end.is_set():
            messages = consumer.consume(_BATCH, _WAIT_SECONDS)
            for message in messages:
                error = message.error()
                if error is not None and not error.retriable():
                    raise KafkaException(error)
            self._tell([message for message in messages if message.error() is None])

    def _tell(self, messages: list[Message]) -> None:
        with self._lock:
            watches = list(self._watches)
        of_partition: dict[int, list[_Watch]] = {}
        for watch in watches:
            of_partition.setdefault(watch.partition, []).append(watch)
        for message in messages:
            value, partition = message.value(), message.partition()
            if value is None or partition is None:
                continue
            concerned = [
                watch
                for watch in of_partition.get(partition, ())
                if any(mark in value for mark in watch.marks)
            ]
            if not concerned:
                continue
            try:
                event = decode_event(value)
            except ValueError:
                continue
            for watch in concerned:
                watch.tell(event)
