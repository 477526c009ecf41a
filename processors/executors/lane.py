"""A lane: one thread that claims commands of one topic and hands them to the event loop."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message

from authority.process import ProcessKeys
from processors.executors import attempt_spans, metrics
from processors.executors.approved import Unapproved
from processors.executors.authentication import command_check
from processors.executors.cancellations import Cancellations
from processors.executors.claim import Bind, Place, Start
from processors.executors.claim_builder import ClaimBuilder, Output
from processors.executors.claim_memory import ClaimMemory
from processors.executors.fencing import Fences
from processors.executors.lane_consumer import LaneConsumer, options
from processors.executors.reports import Reports
from processors.executors.slots import Slots
from runtime import clock
from runtime.kafka import clients
from runtime.kafka.broker_clock import BrokerClock
from runtime.kafka.dead_letters import WRITTEN
from runtime.kafka.dlq_limit import DlqLimit, DlqLimitReached
from runtime.kafka.lag import ConsumerLag
from runtime.kafka.offsets import Notes, Offsets
from runtime.kafka.outage import CONFIGURATION, MOVED, PASSING, Outage, reason
from runtime.kafka.outcome import Outcome
from runtime.kafka.transaction import Transactions
from runtime.logs import Log
from runtime.readiness import Readiness
from runtime.settings import ExecutorSettings
from streams.topics import REPORTS, STEPS

_BATCH: Final = 500
#: The longest wait for a record or a slot; either ends it at once, a stop does not.
_POLL_SECONDS: Final = 0.5
#: How often a lane checks whether enough results have left to claim more.
_RECHECK_SECONDS: Final = 0.02
_PROBE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Claimed:
    """An attempt whose claim is committed; `at` is monotonic, from before the commit."""

    start: Start
    traceparent: bytes | None
    at: float
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class LaneParts:
    """What a lane works with."""

    settings: ExecutorSettings
    log: Log
    kafka: Readiness
    cancellations: Cancellations
    bind: Bind
    unapproved: Unapproved
    keys: ProcessKeys
    #: Passes a committed batch to the event loop.
    hand_over: Callable[[Lane, list[Claimed]], None]
    #: Set once every cancel that was there at the start is known.
    control_loaded: threading.Event
    #: Whether results leave fast enough to claim more.
    may_claim: Callable[[], bool]
    stop: threading.Event
    #: Of all lanes of this process.
    fences: Fences = field(default_factory=Fences)


class Lane(threading.Thread):
    """Claims until the stop event is set; `slots` bounds what is claimed and not finished."""

    def __init__(self, domain: str, lane: str, limit: int, parts: LaneParts) -> None:
        """Not started."""
        super().__init__(name=f"lane-{domain}-{lane}", daemon=True)
        self.domain, self.lane = domain, lane
        self.slots = Slots(limit)
        self.failed: BaseException | None = None
        self._parts = parts
        settings = parts.settings
        self._log = parts.log.bind(domain=domain, lane=lane)
        self._topic = clients.topic_name(settings, STEPS[domain, lane])
        self._reports_topic = clients.topic_name(settings, REPORTS)
        self._group = f"{settings.topic_prefix}runstream-executor-{domain}-{lane}"
        self._reports = Reports(settings.instance, parts.keys.signer.tokens)
        self._clock = BrokerClock()
        self._outage = Outage(parts.kafka, self.name)
        self._limit = DlqLimit()
        self._lag = ConsumerLag(self._group, settings.topic_prefix)
        self._transactions = Transactions(
            clients.transactional(
                settings,
                # The domain first: an executor may use the ids that begin with its own domains'.
                f"{settings.topic_prefix}runstream-executor-{domain}-{lane}-{settings.instance}",
            ),
            clock_of=self._clock,
        )
        self._claimed = ClaimMemory()
        self._probed_at = 0.0

    def run(self) -> None:
        """Serve until the stop event; a fault that needs an operator is kept in `failed`."""
        stop = self._parts.stop
        try:
            while not stop.is_set():
                try:
                    self._serve()
                except KafkaException as error:
                    if reason(error.args[0]).sentence == CONFIGURATION:
                        raise
                    # The clients themselves are made anew; nothing was claimed that is not counted.
                    stop.wait(self._outage.failed(error.args[0]))
                except DlqLimitReached as error:
                    self._parts.kafka.waiting(self.name, f"stopped consuming: {error}")
                    stop.wait()
        except BaseException as error:
            self.failed = error
            stop.set()
        finally:
            self._transactions.close()

    def _serve(self) -> None:
        settings = self._parts.settings
        chosen = options(settings, self._group, self._on_error)
        consumer = LaneConsumer(chosen, self._topic, self._on_error)
        try:
            self._open(consumer)
            while not self._parts.stop.is_set():
                self._lag.sample(consumer.client, consumer.waiting())
                if not self._parts.control_loaded.wait(_POLL_SECONDS):
                    consumer.keep_alive()
                    self._probe(consumer)
                elif not self._parts.may_claim():
                    self._parts.stop.wait(_RECHECK_SECONDS)
                    consumer.keep_alive()
                    self._probe(consumer)
                elif not self.slots.wait(_POLL_SECONDS):
                    consumer.keep_alive()
                    self._probe(consumer)
                else:
                    self._claim_next(consumer)
        finally:
            consumer.close()

    def _claim_next(self, consumer: LaneConsumer) -> None:
        free = self.slots.free()
        count = min(free, _BATCH)
        commands_wait = consumer.read(count, free, _POLL_SECONDS)
        if not self._transactions.is_open:
            self._open(consumer)
        elif commands_wait:
            self._claim(consumer, consumer.take(count, self._clock.now()))
        else:
            self._probe(consumer)

    def _claim(self, consumer: LaneConsumer, batch: list[Message]) -> None:
        step_topic = STEPS[self.domain, self.lane].name
        builder = ClaimBuilder(
            self._reports,
            self._group,
            self._topic,
            self._reports_topic,
            self._parts.settings.environment,
            self._parts.cancellations.get,
            self._claimed.__contains__,
            self._parts.bind,
            self._transactions.partitions_of,
            self._log,
            command_check(
                self._parts.keys.verifier, step_topic, self._transactions.partitions_of(self._topic)
            ),
            self._parts.unapproved,
            self._clock.ahead_seconds,
            self._parts.fences,
        )
        decisions: Counter[str] = Counter()
        for message in batch:
            decisions[builder.add(message)] += 1
        offsets, notes = consumer.claims(batch)
        self._limit.check(len(batch), builder.dead_letters)
        began = clock.monotonic()
        outcome = self._commit(builder.outputs(), offsets, notes, consumer)
        if outcome is not Outcome.COMMITTED:
            metrics.CLAIMS_FAILED.labels(self.domain, self.lane, outcome.value).inc()
            if not self._recover(consumer, outcome, offsets):
                return
        if self._outage.is_waiting:
            self._outage.recovered()
        self._limit.count(len(batch), builder.dead_letters)
        metrics.CLAIM_SECONDS.labels(self.domain, self.lane).observe(clock.monotonic() - began)
        for error_class, count in builder.letter_classes.items():
            WRITTEN.labels(step_topic, error_class).inc(count)
        for name, count in decisions.items():
            metrics.CLAIMS.labels(self.domain, self.lane, name).inc(count)
        if builder.starts:
            self.slots.acquire(len(builder.starts))
            for start, _, _ in builder.starts:
                self._claimed.add(start.attempt_id, began)
            claims = [Claimed(start, trace, began, at) for start, trace, at in builder.starts]
            attempt_spans.claimed(builder.starts, clock.monotonic() - began)
            self._parts.hand_over(self, claims)

    def _commit(
        self, outputs: list[Output], offsets: Offsets, notes: Notes, consumer: LaneConsumer
    ) -> Outcome:
        try:
            for output in outputs:
                self._transactions.send_named(*output)
        except KafkaException as error:
            self._transactions.last_error = error.args[0]
            return self._transactions.abort()
        return self._transactions.commit(offsets, consumer.client, notes=notes)

    def _open(self, consumer: LaneConsumer) -> None:
        """Get the transactional producer ready, staying in the group meanwhile."""
        while not self._parts.stop.is_set():
            if self._transactions.open():
                self._parts.keys.on_cluster(self._transactions.cluster(self._topic))
                self._transactions.measure_clock(self._reports_topic)
                if not self._outage.has_failed:
                    self._outage.recovered()
                return
            consumer.keep_alive()
            self._parts.stop.wait(self._outage.failed(self._transactions.last_error or _UNKNOWN))

    def _recover(self, consumer: LaneConsumer, outcome: Outcome, offsets: Offsets) -> bool:
        """After a transaction that did not commit at once; True where it did commit after all."""
        error = self._transactions.last_error or _UNKNOWN
        self._log.warning("claim not committed", outcome=outcome.value, error=str(error))
        if reason(error).sentence != MOVED:
            self._parts.stop.wait(self._outage.failed(error))
        while not self._parts.stop.is_set():
            try:
                if not self._transactions.is_open:
                    self._open(consumer)
                if outcome is Outcome.UNKNOWN and self._transactions.was_committed(
                    offsets, consumer.client
                ):
                    return True
                consumer.rewind()
                return False
            except KafkaException as failure:
                consumer.keep_alive()
                self._parts.stop.wait(self._outage.failed(failure.args[0]))
        return False

    def _on_error(self, error: KafkaError) -> None:
        """Take an error that a client reports by itself."""
        if error.code() in PASSING:
            return
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            # After an outage the coordinators may be others, and the producer may go on asking the
            # old ones (librdkafka issue 5511).
            self._transactions.close()
        self._outage.report(error)

    def _probe(self, consumer: LaneConsumer) -> None:
        """While there is nothing to claim, ask the broker whether the last error is over."""
        now = clock.monotonic()
        if not self._outage.is_waiting or now - self._probed_at < _PROBE_SECONDS:
            return
        self._probed_at = now
        if consumer.topic_exists() and self._transactions.is_open:
            self._outage.answered()


_UNKNOWN: Final = KafkaError(KafkaError._FAIL)
