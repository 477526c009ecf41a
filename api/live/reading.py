"""Reading: one thread with one consumer of all events, output and progress, for the hub."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from api.live import metrics
from api.live.hub import Batch, Hub, Snapshot
from api.live.records import LiveChunk, decode
from runtime.kafka import clients
from runtime.kafka.outage import PASSING, WAITS_SECONDS, reason
from runtime.logs import Log
from runtime.settings import CommonSettings
from streams.topics import EVENTS, OUTPUT, PROGRESS, Topic

#: How many of the latest records of each partition are read first: what readers come back to after
#: a restart of this process.
_LATEST: Final = {EVENTS.name: 2_500, OUTPUT.name: 100, PROGRESS.name: 2_500}
_TOPICS: Final = (EVENTS, OUTPUT, PROGRESS)
#: Records of one batch, and batches that the event loop has not taken; then this thread waits, and
#: the client buffers no more than its own bounds.
_BATCH_RECORDS: Final = 1_000
_BATCHES: Final = 4
_POLL_SECONDS: Final = 0.2
_CALL_SECONDS: Final = 10.0

Place = tuple[str, int]


class PositionLost(Exception):
    """The records from a position on are not there any more: what follows has a gap."""


class Reading:
    """Reads from near the end of the topics on, and goes on by itself after every outage."""

    def __init__(self, settings: CommonSettings, hub: Hub, log: Log) -> None:
        """Nothing is read before `start`, which needs the running event loop of the hub."""
        self._settings = settings
        self._hub = hub
        self._log = log
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = threading.Event()
        self._untaken = threading.BoundedSemaphore(_BATCHES)
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._names = {clients.topic_name(settings, topic): topic for topic in _TOPICS}
        #: The next offset of each partition; empty before the first is known.
        self._positions: dict[Place, int] = {}
        #: The partitions that are not read up to their end at the start.
        self._unread: dict[Place, int] = {}
        self._away = False

    def start(self) -> None:
        """Begin to read."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Read nothing more; waits for the thread, which a call to the broker may hold up."""
        self._stop.set()
        await asyncio.to_thread(self._thread.join, _CALL_SECONDS)

    # -- in the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                consumer = Consumer(self._options())
                try:
                    self._open(consumer)
                    failures = 0
                    self._read(consumer)
                finally:
                    consumer.close()
            except PositionLost as lost:
                self._log.warning("records expired before they were read", place=str(lost))
                self._positions.clear()
            except KafkaException as error:
                self._note_away(error.args[0])
                self._stop.wait(WAITS_SECONDS[min(failures, len(WAITS_SECONDS) - 1)])
                failures += 1
            except Exception:
                # It must go on whatever one record does; the pause keeps the log short.
                self._log.exception("reading for the live view failed")
                self._stop.wait(WAITS_SECONDS[-1])

    def _options(self) -> clients.Options:
        return clients.reader(
            self._settings,
            **{
                "enable.partition.eof": True,
                # A position that is gone must be heard of: what follows has a gap.
                "auto.offset.reset": "error",
                "queued.max.messages.kbytes": 8_192,
                "error_cb": self._on_error,
            },
        )

    def _open(self, consumer: Consumer) -> None:
        if not self._positions:
            self._find_positions(consumer)
        consumer.assign(
            [TopicPartition(name, number, at) for (name, number), at in self._positions.items()]
        )

    def _find_positions(self, consumer: Consumer) -> None:
        found: dict[Place, int] = {}
        unread: dict[Place, int] = {}
        for name, topic in self._names.items():
            for number in range(topic.partitions):
                low, high = consumer.get_watermark_offsets(
                    TopicPartition(name, number), timeout=_CALL_SECONDS
                )
                found[name, number] = max(low, high - _LATEST[topic.name])
                unread[name, number] = high
        # The broker has answered, though there may be nothing to read.
        self._note_back()
        self._unread = {place: end for place, end in unread.items() if found[place] < end}
        events, output = (
            [found[clients.topic_name(self._settings, topic), n] for n in range(topic.partitions)]
            for topic in (EVENTS, OUTPUT)
        )
        self._tell(self._hub.begin, events, output)
        self._positions = found
        if not self._unread:
            self._tell(self._hub.set_ready)

    def _read(self, consumer: Consumer) -> None:
        while not self._stop.is_set():
            first = consumer.poll(_POLL_SECONDS)
            if first is None:
                if self._away:
                    self._probe(consumer)
                continue
            self._take([first, *consumer.consume(_BATCH_RECORDS, 0)])

    def _take(self, messages: list[Message]) -> None:
        batch = Batch()
        for message in messages:
            place = (message.topic() or "", message.partition() or 0)
            offset = message.offset() or 0
            error = message.error()
            if error is None:
                self._positions[place] = offset + 1
                self._sort(batch, self._names[place[0]], message)
            elif error.code() == KafkaError._PARTITION_EOF:
                # After a transaction the end is one past its last record.
                self._positions[place] = offset
                self._unread.pop(place, None)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise PositionLost(f"{place[0]}/{place[1]}")
            elif not error.retriable() and error.code() not in PASSING:
                raise KafkaException(error)
        if batch.events or batch.chunks or batch.snapshots:
            self._note_back()
            while not self._untaken.acquire(timeout=_POLL_SECONDS):
                if self._stop.is_set():
                    return
            self._tell(self._deliver, batch)
        self._check_ready()

    def _sort(self, batch: Batch, topic: Topic, message: Message) -> None:
        value, partition, offset = message.value(), message.partition() or 0, message.offset() or 0
        key = message.key()
        if topic is EVENTS:
            event = decode(value, partition, offset)
            if event is None:
                metrics.UNREADABLE.inc()
            else:
                batch.events.append(event)
        elif topic is OUTPUT:
            if isinstance(value, bytes) and isinstance(key, bytes):
                batch.chunks.append(LiveChunk(partition, offset, key, value))
        elif isinstance(key, bytes):
            ident = key.decode("ascii", "replace")
            batch.snapshots.append(Snapshot(ident, value if isinstance(value, bytes) else None))

    def _deliver(self, batch: Batch) -> None:
        """In the thread of the event loop."""
        try:
            self._hub.deliver(batch)
        finally:
            self._untaken.release()

    def _check_ready(self) -> None:
        if self._unread:
            done = [place for place, end in self._unread.items() if self._positions[place] >= end]
            for place in done:
                del self._unread[place]
            if self._unread:
                return
        if not self._hub.ready.is_set():
            self._tell(self._hub.set_ready)

    def _tell(self, what: Callable[..., None], *given: object) -> None:
        assert self._loop is not None  # noqa: S101
        try:
            self._loop.call_soon_threadsafe(what, *given)
        except RuntimeError:
            # The loop is closed: so ends the process.
            self._stop.set()

    def _on_error(self, error: KafkaError) -> None:
        # One of several connections that ends is no outage.
        if error.code() not in PASSING:
            self._note_away(error)

    def _probe(self, consumer: Consumer) -> None:
        try:
            consumer.list_topics(timeout=1.0)
        except KafkaException:
            return
        self._note_back()

    def _note_away(self, error: KafkaError) -> None:
        if not self._away:
            self._away = True
            why = reason(error)
            self._log.warning("the live view waits", why=why.sentence, error=why.error)
            self._tell(self._hub.set_away, True)

    def _note_back(self) -> None:
        if self._away:
            self._away = False
            self._log.info("the live view works again")
            self._tell(self._hub.set_away, False)
