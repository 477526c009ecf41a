"""Faust's Kafka transport with three changes, each for a measured reason.

1. Its consumer reads committed records only: Faust asks for that only in its exactly-once mode,
   so an aborted transaction of the router would show as progress.
2. The records that one fetch brings of a partition travel through Faust as one message: Faust's
   cost is per message, so a busy partition costs hardly more than a quiet one.
3. On assignment it seeks to where the published snapshots say, not to the group's committed
   offset: Faust acknowledges a message whose handler raised, and snapshots are thinned out, so
   only what has been published is a safe place to go on from. Faust still commits, for lag tools.

Verified against faust-streaming 0.15.3.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiokafka
from aiokafka.errors import IllegalStateError
from faust.transport.consumer import RecordMap, ensure_TP
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP


class OffsetRange(NamedTuple):
    """The offsets that a partition holds: the first one, and the one after the last."""

    first: int
    end: int


#: Given the assigned partitions, restores their states and says where each goes on.
Restore = Callable[[dict[int, OffsetRange]], Awaitable[dict[int, int]]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one partition: (offset, value) each, oldest first."""

    partition: int
    records: list[tuple[int, bytes | None]]
    #: When the broker appended the newest of them, Unix seconds.
    appended_at: float


class _CommittedThread(AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # The fetcher, which takes this value, is made only when the consumer starts.
        consumer._isolation_level = "read_committed"
        return consumer


class BatchConsumer(Consumer):
    """Reads committed records in batches, from where the restored states say."""

    _starts: dict[TP, int]
    _seeks = 0

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        self._starts = {}
        return _CommittedThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109
        """One message per partition that has records; its offset is that of the last record."""
        seeks = self._seeks
        fetched, _ = await self._wait_next_records(timeout)
        if not fetched or self.should_stop:
            return
        records = dict(fetched)
        generation = self.app.consumer_generation_id
        while records:
            if not self.flow_active or self.app.consumer_generation_id != generation:
                await self._give_back(records, seeks)
                return
            tp, found = records.popitem()
            if tp not in self._get_active_partitions() and tp not in self._buffered_partitions:
                await self._give_back({tp: found}, seeks)
                continue
            message: Any = self._to_message(tp, found[-1])
            message.value = Batch(
                tp.partition,
                [(record.offset, record.value) for record in found],
                (found[-1].timestamp or 0) / 1000.0,
            )
            yield ensure_TP(tp), message

    async def _give_back(self, records: RecordMap, seeks: int) -> None:
        """Fetch these again: the flow stopped after they had left the fetcher.

        Where the states were restored meanwhile, the records may be from before that seek, and the
        only safe place is the restored one; what is then read twice is dropped as duplicate.
        """
        for tp, found in records.items():
            offset = found[0].offset if seeks == self._seeks else self._starts.get(ensure_TP(tp))
            if offset is not None:
                try:
                    await self._seek(tp, offset)
                except IllegalStateError:
                    continue  # Revoked: the next owner restores it.
                self._read_offset[ensure_TP(tp)] = offset or None

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Restore the states of all assigned partitions and seek to where they go on."""
        transport = self.transport
        if not isinstance(transport, BatchTransport):
            raise TypeError("BatchConsumer belongs to BatchTransport")
        tps = {tp.partition: ensure_TP(tp) for tp in self.assignment()}
        first = await self.earliest_offsets(*tps.values())
        end = await self.highwaters(*tps.values())
        ranges = {p: OffsetRange(first[tp] or 0, end[tp] or 0) for p, tp in tps.items()}
        starts = await transport.restore(ranges)
        offsets = {tps[partition]: start for partition, start in starts.items()}
        self._starts = dict(offsets)
        self._seeks += 1
        await self.seek_wait(offsets)
        return offsets


class BatchTransport(Transport):
    """Faust's aiokafka transport with `BatchConsumer`; `restore` is called once per assignment."""

    Consumer = BatchConsumer

    def __init__(self, *args: Any, restore: Restore, **options: Any) -> None:
        """Everything but `restore` is Faust's own."""
        super().__init__(*args, **options)
        self.restore = restore
