"""A lane: one thread that claims commands of one topic and hands them to the event loop."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message

from processors.executors import metrics
from processors.executors.cancellations import Cancellations
from processors.executors.claim import Bind, Park, Pass, Refuse, Start, judge
from processors.executors.intake import Intake, options
from processors.executors.readiness import Readiness
from processors.executors.reports import Reports
from processors.executors.slots import Slots
from processors.executors.transaction import ClaimTransactions, Outcome, Output
from runtime import clock
from runtime.kafka import clients
from runtime.kafka.dead_letters import dead_letter, fitting
from runtime.logs import Log
from runtime.settings import ExecutorSettings
from streams import envelope
from streams.topics import REPORTS, STEPS

_BATCH: Final = 500
_POLL_SECONDS: Final = 0.1
_HELD_SECONDS: Final = 0.02
_RETRY_SECONDS: Final = 0.5
_PROBE_SECONDS: Final = 1.0
#: Attempts that this process claimed, against a command that is in the topic twice.
_REMEMBERED: Final = 20_000
#: So often fenced in so short a time means another process with the same name.
_FENCES: Final = 3
_FENCED_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Claimed:
    """An attempt whose claim is committed; `at` is monotonic, from before the commit."""

    start: Start
    traceparent: bytes | None
    at: float


@dataclass(frozen=True, slots=True)
class LaneParts:
    """What a lane works with."""

    settings: ExecutorSettings
    log: Log
    kafka: Readiness
    cancellations: Cancellations
    bind: Bind
    #: Takes a committed batch to the event loop.
    hand_over: Callable[[Lane, list[Claimed]], None]
    #: Whether more may be claimed at all: control loaded, results not piling up.
    may_claim: Callable[[], bool]
    stop: threading.Event


class Lane(threading.Thread):
    """Claims until told to stop. `slots` bounds what it may have claimed and not finished."""

    def __init__(self, domain: str, lane: str, limit: int, parts: LaneParts) -> None:
        """Not started."""
        super().__init__(name=f"lane-{domain}-{lane}", daemon=True)
        self.domain, self.lane = domain, lane
        self.slots = Slots(limit)
        self.failed: BaseException | None = None
        self._parts = parts
        settings = parts.settings
        self._log = parts.log.bind(domain=domain, lane=lane)
        self._source = STEPS[domain, lane]
        self._topic = clients.topic_name(settings, self._source)
        self._reports_topic = clients.topic_name(settings, REPORTS)
        self._group = f"{settings.topic_prefix}runstream-executor-{domain}-{lane}"
        self._reports = Reports(settings.instance)
        self._transactions = ClaimTransactions(
            clients.transactional(
                settings,
                f"{settings.topic_prefix}runstream-executor-{settings.instance}-{domain}-{lane}",
            )
        )
        self._claimed: OrderedDict[str, None] = OrderedDict()
        self._probed_at = 0.0
        self._fenced_at: list[float] = []

    def run(self) -> None:
        """Serve until the stop event; a fault that only a person can mend is kept in `failed`."""
        stop = self._parts.stop
        try:
            while not stop.is_set():
                try:
                    self._serve()
                except KafkaException as error:
                    if error.args[0].code() == KafkaError._INVALID_ARG:
                        raise  # an option of a client is wrong, and stays so
                    # The clients themselves are made anew; nothing was claimed that is not counted.
                    self._wait(error.args[0])
                    stop.wait(_RETRY_SECONDS)
        except BaseException as error:
            self.failed = error
            stop.set()
        finally:
            self._transactions.close()

    def _serve(self) -> None:
        settings = self._parts.settings
        intake = Intake(options(settings, self._group, self._wait), self._topic, self._wait)
        try:
            self._open(intake)
            while not self._parts.stop.is_set():
                self._look_again(intake)
                if not self._parts.may_claim():
                    self._parts.stop.wait(_HELD_SECONDS)
                    intake.stay()
                elif not self.slots.wait(_POLL_SECONDS):
                    intake.stay()
                else:
                    batch = intake.take(min(self.slots.free(), _BATCH), _POLL_SECONDS)
                    if not self._transactions.is_open:
                        intake.put_back(batch)
                        self._open(intake)
                    elif batch:
                        self._claim(intake, batch)
        finally:
            intake.close()

    def _claim(self, intake: Intake, batch: list[Message]) -> None:
        outputs: list[Output] = []
        starts: list[tuple[Start, bytes | None]] = []
        offsets: dict[tuple[str, int], int] = {}
        verdicts: dict[str, int] = {}
        now = clock.now()
        time = clock.iso(now)
        for message in batch:
            name = self._decide(message, now, time, outputs, starts)
            verdicts[name] = verdicts.get(name, 0) + 1
            place = (str(message.topic()), int(message.partition() or 0))
            offsets[place] = int(message.offset() or 0) + 1
        begun = clock.monotonic()
        outcome = self._transactions.commit(outputs, offsets, intake.consumer)
        if outcome is not Outcome.COMMITTED:
            metrics.CLAIMS_FAILED.labels(self.domain, self.lane, outcome.value).inc()
            if not self._recover(intake, outcome, offsets):
                return
        metrics.CLAIM_SECONDS.labels(self.domain, self.lane).observe(clock.monotonic() - begun)
        for name, count in verdicts.items():
            metrics.CLAIMS.labels(self.domain, self.lane, name).inc(count)
        if starts:
            self.slots.take(len(starts))
            for start, _ in starts:
                self._claimed[start.attempt_id] = None
            while len(self._claimed) > _REMEMBERED:
                self._claimed.popitem(last=False)
            self._parts.hand_over(self, [Claimed(start, trace, begun) for start, trace in starts])

    def _decide(
        self,
        message: Message,
        now: float,
        time: str,
        outputs: list[Output],
        starts: list[tuple[Start, bytes | None]],
    ) -> str:
        headers = _headers(message)
        verdict = judge(
            message.value(),
            envelope.major_version(envelope.header(headers, "ce_type")),
            now,
            self._parts.cancellations.get,
            self._claimed.__contains__,
            self._parts.bind,
        )
        trace = envelope.trace_parent(headers)
        match verdict:
            case Start(command):
                record = self._reports.record(command, "started", time, trace)
                outputs.append(Output(self._reports_topic, *record))
                starts.append((verdict, trace))
                return "started"
            case Refuse(command, reason, text):
                record = self._reports.record(
                    command, "refused", time, trace, reason=reason, message=text
                )
                outputs.append(Output(self._reports_topic, *record))
                self._log.info("refused", reason=reason, why=text, **_who(command))
                return f"refused_{reason}"
            case Pass(command):
                self._log.warning("claimed before", **_who(command))
                return "repeated"
            case Park(error_class, text):
                outputs.append(self._letter(message, error_class, text))
                return "parked"

    def _letter(self, message: Message, error_class: str, text: str) -> Output:
        letter = dead_letter(
            self._topic,
            message,
            error_class=error_class,
            message_text=text,
            stage="decode",
            group=self._group,
            app="executor",
        )
        letter = fitting(letter, self._transactions.partitions_of(letter.topic))
        self._log.warning("parked", partition=message.partition(), offset=message.offset())
        return Output(letter.topic, letter.key, letter.value, letter.headers, letter.partition)

    def _open(self, intake: Intake) -> None:
        """Get the transactional producer ready, keeping the group's place meanwhile."""
        while not self._parts.stop.is_set():
            if self._transactions.open():
                self._parts.kafka.ready(self.name)
                return
            if self._transactions.last_error is not None:
                self._wait(self._transactions.last_error)
            intake.stay()
            self._parts.stop.wait(_RETRY_SECONDS)

    def _recover(
        self, intake: Intake, outcome: Outcome, offsets: dict[tuple[str, int], int]
    ) -> bool:
        """After a transaction that did not commit at once; True where it did commit after all."""
        error = self._transactions.last_error
        self._log.warning("claim not committed", outcome=outcome.value, error=str(error))
        if error is not None and error.code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED):
            self._count_fence()
        while not self._parts.stop.is_set():
            try:
                if not self._transactions.is_open:
                    self._open(intake)
                if outcome is Outcome.UNKNOWN and self._transactions.was_committed(
                    offsets, intake.consumer
                ):
                    return True
                intake.rewind()
                return False
            except KafkaException as failure:
                self._wait(failure.args[0])
                intake.stay()
                self._parts.stop.wait(_RETRY_SECONDS)
        return False

    def _count_fence(self) -> None:
        now = clock.monotonic()
        self._fenced_at = [at for at in self._fenced_at if now - at < _FENCED_SECONDS] + [now]
        if len(self._fenced_at) >= _FENCES:
            # The older of two was fenced first, so it is the one that gives way.
            raise RuntimeError(
                f"another process uses the instance name {self._parts.settings.instance!r}"
            )

    def _wait(self, error: KafkaError) -> None:
        """Something is wrong with the broker; it is said once, and looked at again later."""
        if error.code() in (
            KafkaError._TRANSPORT,
            KafkaError._RESOLVE,
            KafkaError._MAX_POLL_EXCEEDED,
        ):
            return  # one connection of several, or a stop of this process: others will tell
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            # What the producer knows of the coordinators is worth nothing after an outage, and it
            # may cling to it (librdkafka issue 5511).
            self._transactions.close()
        self._parts.kafka.waiting(self.name, f"{error.name()}: {error.str()}")

    def _look_again(self, intake: Intake) -> None:
        if not self._parts.kafka.is_waiting(self.name):
            return
        now = clock.monotonic()
        if now - self._probed_at < _PROBE_SECONDS:
            return
        self._probed_at = now
        try:
            found = intake.consumer.list_topics(self._topic, timeout=0.5).topics[self._topic]
        except KafkaException:
            return
        if found.error is None:
            self._parts.kafka.ready(self.name)


def _headers(message: Message) -> list[tuple[str, Any]]:
    try:
        return list(message.headers() or ())  # type: ignore[arg-type]
    except (UnicodeDecodeError, ValueError):
        return []  # keys that are not text: hostile, and not needed


def _who(command: Any) -> dict[str, Any]:
    return {
        "execution": command.execution_id,
        "step": command.step,
        "attempt": command.attempt,
    }
