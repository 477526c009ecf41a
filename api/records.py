"""Records: requests and control messages, signed by the API and handed to the broker."""

from __future__ import annotations

import asyncio
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from api.problems import Problem, unavailable
from authority.process import ProcessKeys
from runtime import clock
from runtime.kafka import clients
from runtime.kafka.cluster import cluster_id
from runtime.kafka.outage import Outage
from runtime.readiness import Readiness
from runtime.settings import CommonSettings
from streams.envelope import SIGNATURE, headers
from streams.timestamps import iso
from streams.topics import REQUESTS, Topic

if TYPE_CHECKING:
    from confluent_kafka import Message

SOURCE: Final = "runstream/api"
#: How long the broker may take for one record, in seconds.
DELIVERY_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1
_PROBE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Record:
    """One record to be written."""

    topic: Topic
    key: str
    value: bytes
    #: Type without `runstream.` and version, as `execution.request`.
    kind: str
    subject: str
    #: Its CloudEvents id, where the answer names it.
    ident: str | None = None
    #: Of the caller, who may begin a trace; checked (see streams/trace_context.py).
    traceparent: bytes | None = None


class Records:
    """One producer; `send` is for the event loop, and its thread ends with `close`."""

    def __init__(self, settings: CommonSettings, keys: ProcessKeys, readiness: Readiness) -> None:
        """Nothing is connected before `open`; it is the member `records` of `readiness`."""
        self._settings = settings
        self._keys = keys
        self._outage = Outage(readiness, "records")
        limit = int(DELIVERY_SECONDS * 1_000)
        options = clients.producer(settings, **{"message.timeout.ms": limit})
        self._producer = Producer({**options, "error_cb": self._on_error})
        # Signed and produced in one order: a reader refuses what is older than what it followed.
        self._order = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="records", daemon=True)

    def open(self) -> None:
        """Connect, and go on to look whether the broker is there."""
        self._thread.start()

    def close(self) -> None:
        """Wait for what was sent, within the time for one record."""
        self._end.set()
        self._thread.join()
        self._producer.flush(DELIVERY_SECONDS)

    @property
    def away(self) -> bool:
        """Whether the broker does not answer now, or has not yet."""
        return self._outage.is_waiting or self._keys.signer.cluster is None

    def require(self) -> None:
        """Raise Problem 503 where the broker is away."""
        if self.away:
            raise unavailable("Kafka (KAFKA_BOOTSTRAP_SERVERS)", "see that it runs")

    async def send(self, record: Record) -> None:
        """Return when all replicas have the record; raises Problem."""
        self.require()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[KafkaError | None] = loop.create_future()

        def settle(error: KafkaError | None) -> None:
            if not done.done():
                done.set_result(error)

        def delivered(error: KafkaError | None, message: Message) -> None:
            try:
                loop.call_soon_threadsafe(settle, error)
            except RuntimeError:
                # The loop has ended; nobody waits any more.
                return

        head = headers(
            ident=record.ident or f"{record.subject}:{record.kind}:{secrets.token_hex(8)}",
            kind=record.kind,
            source=SOURCE,
            time=iso(clock.now()),
            subject=record.subject,
            traceparent=record.traceparent,
        )
        try:
            with self._order:
                (token,) = self._keys.signer.tokens(record.topic.name, [record.value])
                self._producer.produce(
                    clients.topic_name(self._settings, record.topic),
                    key=record.key.encode(),
                    value=record.value,
                    headers=[*head, (SIGNATURE, token)],
                    on_delivery=delivered,
                )
        except BufferError:
            raise Problem(503, "busy", "too many records wait for Kafka: try again") from None
        except KafkaException as error:
            raise _refused(record.topic, error.args[0]) from None
        failed = await done
        if failed is not None:
            raise _refused(record.topic, failed)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._outage.report(error)

    def _serve(self) -> None:
        """Serve delivery reports, and ask now and then whether the broker is there."""
        due = clock.monotonic()
        while not self._end.is_set():
            self._producer.poll(_POLL_SECONDS)
            if clock.monotonic() < due:
                continue
            try:
                name = clients.topic_name(self._settings, REQUESTS)
                self._keys.on_cluster(cluster_id(self._producer, name))
            except KafkaException as error:
                due = clock.monotonic() + self._outage.failed(error.args[0])
            else:
                self._outage.answered()
                wait = 0.05 if self._outage.is_waiting else _PROBE_SECONDS
                due = clock.monotonic() + wait


def _refused(topic: Topic, error: KafkaError) -> Problem:
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return Problem(413, "too_large", f"the record is too large for {topic.name}: send less")
    told = (
        f"Kafka did not take the record for {topic.name} ({error.name()}): it may have it all "
        "the same, so try again with the same idempotency key"
    )
    return Problem(503, "unavailable", told, headers={"Retry-After": "2"})
