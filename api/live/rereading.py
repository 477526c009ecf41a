"""Catching up: records that left the memory are read once more from their topic, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from api.live import metrics
from runtime.kafka import clients
from runtime.kafka.outage import PASSING
from runtime.settings import CommonSettings
from streams.topics import Topic

#: Readers at once, each with a consumer of its own; a further one waits its turn.
READERS: Final = 4
#: How long for, in seconds.
TURN_SECONDS: Final = 20.0
#: Records that are read for one reader, of all tenants together; what is further behind is not.
MOST_RECORDS: Final = 250_000

_CALL_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.5
_BATCH: Final = 2_000
#: A producer's and the broker's clock differ by less.
_MARGIN_MS: Final = 10 * 60_000


class TooFarBehind(Exception):
    """More records lie between than are read for one reader, or they have expired."""


class Busy(Exception):
    """So many others are catching up that there was no turn in time."""


class Records:
    """The records of some partitions from some offsets on; each call is for a thread."""

    def __init__(
        self, settings: CommonSettings, topic: Topic, positions: Mapping[int, int]
    ) -> None:
        """Nothing is read yet."""
        self._name = clients.topic_name(settings, topic)
        self._consumer = Consumer(
            clients.reader(
                settings,
                **clients.ENDS,
                **{"auto.offset.reset": "error", "queued.max.messages.kbytes": 4_096},
            )
        )
        #: The next offset of each partition.
        self.positions = dict(positions)

    def open(self) -> None:
        """Look how much there is; raises TooFarBehind, KafkaException."""
        behind = 0
        for number, position in self.positions.items():
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(self._name, number), timeout=_CALL_SECONDS
            )
            if position < low or position > high:
                raise TooFarBehind
            behind += high - position
        if behind > MOST_RECORDS:
            raise TooFarBehind
        self._consumer.assign(
            [TopicPartition(self._name, number, at) for number, at in self.positions.items()]
        )

    def read(self) -> list[Message]:
        """The next records, none where none comes soon; raises KafkaException."""
        first = self._consumer.poll(_POLL_SECONDS)
        messages = [] if first is None else [first, *self._consumer.consume(_BATCH, 0)]
        found: list[Message] = []
        for message in messages:
            error, number = message.error(), message.partition() or 0
            offset = message.offset() or 0
            if error is None:
                self.positions[number] = offset + 1
                found.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                self.positions[number] = max(self.positions[number], offset)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise TooFarBehind
            elif not error.retriable() and error.code() not in PASSING:
                raise KafkaException(error)
        return found

    def offset_at(self, partition: int, unix_ms: int) -> int:
        """The first offset at or after that time less a margin, else the end."""
        asked = [TopicPartition(self._name, partition, max(unix_ms - _MARGIN_MS, 0))]
        found = self._consumer.offsets_for_times(asked, timeout=_CALL_SECONDS)[0]
        if found.error is not None:
            raise KafkaException(found.error)
        if found.offset >= 0:
            return found.offset
        _, high = self._consumer.get_watermark_offsets(asked[0], timeout=_CALL_SECONDS)
        return int(high)

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


class Reread:
    """Records as an asynchronous reader asks for them."""

    def __init__(self, records: Records, threads: ThreadPoolExecutor) -> None:
        self._records = records
        self._threads = threads

    @property
    def positions(self) -> dict[int, int]:
        """The next offset of each partition."""
        return self._records.positions

    async def read(self) -> list[Message]:
        """The next records; raises TooFarBehind, KafkaException."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._records.read)


class CatchUp:
    """Who catches up, a few at a time."""

    def __init__(self, settings: CommonSettings) -> None:
        """Nothing is open yet."""
        self._settings = settings
        self._turns = asyncio.Semaphore(READERS)
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="catch-up")

    def close(self) -> None:
        """Read nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def reading(self, topic: Topic, positions: Mapping[int, int]) -> AsyncIterator[Reread]:
        """Read these partitions from these offsets on.

        Raises Busy, TooFarBehind, KafkaException.
        """
        async with self._turn():
            records = Records(self._settings, topic, positions)
            try:
                await self._run(records.open)
                yield Reread(records, self._threads)
            finally:
                await asyncio.shield(self._run(records.close))

    async def offset_at(self, topic: Topic, partition: int, unix_ms: int) -> int:
        """From which offset on the records of that time lie; raises Busy, KafkaException."""
        async with self._turn():
            records = Records(self._settings, topic, {})
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._threads, records.offset_at, partition, unix_ms
                )
            finally:
                await asyncio.shield(self._run(records.close))

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            raise Busy from None
        try:
            with metrics.CATCHING_UP.track_inprogress():
                yield
        finally:
            self._turns.release()

    async def _run(self, what: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, what)
