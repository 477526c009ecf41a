"""Progress of one execution: the projector's latest snapshot, or what the tables say.

A snapshot lies on its topic near the time of the last event that the tables know, so it is found
by that time, without reading the rest of the topic.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from pydantic import ValidationError

from reading.models.progress import ProgressView
from runtime.clock import monotonic
from runtime.kafka import clients
from streams.ids import partition_for, route_of
from streams.progress import ProgressSnapshot, SlaProgress, StepState
from streams.topics import PROGRESS

if TYPE_CHECKING:
    from psycopg import Connection

    from reading.models.executions import ExecutionDetail
    from reading.reader import Reader
    from reading.rows import Row
    from runtime.settings import CommonSettings

#: Steps of a snapshot.
_STEPS: Final = 200
#: Records that are looked through, and for how long, before the tables must do.
_MOST: Final = 20_000
_SECONDS: Final = 2.0
_CALL_SECONDS: Final = 2.0
#: Brokers and processes have clocks of their own.
_BEFORE: Final = timedelta(seconds=5)
_BATCH: Final = 2_000
#: Snapshots of executions that have ended are remembered: they do not change.
_REMEMBERED: Final = 500

_ROWS: Final = """
SELECT step, tool, status::text, attempt, percent,
       coalesce(progress_message, status_reason, error_message) AS message
FROM execution.execution_steps AS s
WHERE execution_id = %(id)s::uuid AND {visible}
ORDER BY step_index NULLS LAST, length(step), step LIMIT %(rows)s
"""


class Snapshots:
    """The projector's topic; for any thread."""

    def __init__(self, settings: CommonSettings) -> None:
        """Nothing is opened yet."""
        self._settings = settings
        self._name = clients.topic_name(settings, PROGRESS)
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None
        self._partitions = 0
        self._ended: OrderedDict[str, ProgressSnapshot] = OrderedDict()

    def find(self, execution: ExecutionDetail) -> ProgressSnapshot | None:
        """The latest snapshot; None where none is found soon, or Kafka does not answer."""
        known = self._ended.get(execution.execution_id)
        if known is not None:
            return known
        if not self._lock.acquire(timeout=_SECONDS):
            return None
        try:
            found = self._look(execution)
        except KafkaException:
            self._close()
            return None
        finally:
            self._lock.release()
        if found is not None and execution.completed_at is not None and found.percent >= 100:
            self._ended[execution.execution_id] = found
            while len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)
        return found

    def close(self) -> None:
        """Leave the broker."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _look(self, execution: ExecutionDetail) -> ProgressSnapshot | None:
        consumer = self._consumer or self._open()
        number = partition_for(route_of(execution.execution_id).encode(), self._partitions)
        at = int((execution.updated_at - _BEFORE).timestamp() * 1_000)
        place = TopicPartition(self._name, number, at)
        [begin] = consumer.offsets_for_times([place], timeout=_CALL_SECONDS)
        if begin.error is not None:
            raise KafkaException(begin.error)
        if begin.offset < 0:
            return None
        consumer.assign([begin])
        try:
            return self._latest(consumer, execution.execution_id.encode())
        finally:
            consumer.unassign()

    def _latest(self, consumer: Consumer, key: bytes) -> ProgressSnapshot | None:
        """The last record of the key from here to the end of the partition."""
        found: bytes | None = None
        seen, until = 0, monotonic() + _SECONDS
        ended = False
        while not ended and seen < _MOST and monotonic() < until:
            for message in consumer.consume(_BATCH, 0.05):
                error = message.error()
                if error is None:
                    seen += 1
                    if message.key() == key:
                        found = message.value()
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended = True
                elif not error.retriable():
                    raise KafkaException(error)
        if found is None:
            return None
        try:
            return ProgressSnapshot.model_validate_json(found)
        except ValidationError:
            return None

    def _open(self) -> Consumer:
        consumer = Consumer(clients.reader(self._settings, **clients.ENDS))
        self._consumer = consumer
        listed = consumer.list_topics(self._name, timeout=_CALL_SECONDS).topics.get(self._name)
        if listed is None or not listed.partitions:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        self._partitions = len(listed.partitions)
        return consumer


def progress(
    connection: Connection[Row], reader: Reader, snapshots: Snapshots, execution: ExecutionDetail
) -> ProgressView:
    """How far the execution is; from the tables where the topic has nothing as new."""
    found = snapshots.find(execution)
    if found is not None and found.tenant == reader.tenant and found.seq >= execution.last_seq:
        return ProgressView(source="topic", progress=found)
    return ProgressView(source="tables", progress=_of_tables(connection, reader, execution))


def _of_tables(
    connection: Connection[Row], reader: Reader, execution: ExecutionDetail
) -> ProgressSnapshot:
    visible = reader.sees_one()
    given = {**visible.values, "id": execution.execution_id, "rows": _STEPS}
    rows = connection.execute(_ROWS.format(visible=visible.sql), given).fetchall()
    counts = execution.step_counts or {}
    end = execution.completed_at or datetime.now(UTC)
    sla = None
    if execution.sla_class is not None and execution.sla_deadline is not None:
        sla = SlaProgress(
            sla_class=execution.sla_class, deadline=execution.sla_deadline, breached=execution.late
        )
    return ProgressSnapshot(
        execution_id=execution.execution_id,
        tenant=execution.tenant,
        name=execution.name,
        status=execution.status or "unknown",
        seq=max(1, execution.last_seq),
        percent=execution.percent,
        counts=counts,
        total_steps=sum(counts.values()) or execution.total_steps or 0,
        steps=[
            StepState(
                step=row["step"],
                tool=row["tool"] or "",
                status=row["status"] or "pending",
                attempt=row["attempt"],
                percent=min(100.0, max(0.0, row["percent"] or 0.0)),
                message=row["message"],
            )
            for row in rows
        ],
        elapsed_seconds=max(0.0, (end - execution.created_at).total_seconds()),
        sla=sla,
        updated_at=execution.updated_at,
    )
