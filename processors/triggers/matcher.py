"""The matcher's loop: records of the triggers' topics in, matches for the router out.

A record counts as read once the broker has every match that was found in it, so each is said at
least once; the router knows which ones it has decided.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from prometheus_client import Counter, Gauge

from authority.process import ProcessKeys
from processors.triggers import matching, sources
from processors.triggers.known import KnownTriggers
from processors.triggers.matching import Failure, Match, Record, Watched
from processors.triggers.sources import Sources
from runtime import clock
from runtime.kafka import clients
from runtime.kafka.cluster import cluster_id
from runtime.kafka.lag import ConsumerLag
from runtime.kafka.outage import CONFIGURATION, PASSING, Outage, reason
from runtime.logs import Log
from runtime.settings import MatcherSettings
from streams.envelope import SIGNATURE, headers, message_headers
from streams.timestamps import iso
from streams.topics import TRIGGER_COMMANDS
from streams.triggers import Matched, MatchFailed

SOURCE: Final = "runstream/matcher"
_IDLE_SECONDS: Final = 0.2
#: A batch ends when any of these is reached; then its matches are sent and its offsets committed.
_BATCH_RECORDS: Final = 500
_BATCH_SECONDS: Final = 1.0
_BATCH_BYTES: Final = 4 * 1024 * 1024
#: What one record may take of one trigger's expressions, in seconds.
_RECORD_SECONDS: Final = 10.0
#: How often a trigger says that its expressions fail, in seconds.
FAILED_SECONDS: Final = 10.0
_FLUSH_SECONDS: Final = 60.0
_PROBE_SECONDS: Final = 1.0
#: The end of the year 9999: a producer may write any number.
_LAST_MS: Final = 253_402_300_799_000

_RECORDS = Counter("runstream_matcher_records_total", "Records of the triggers' topics")
_MATCHES = Counter("runstream_matcher_matches_total", "Records, or items, that start something")
_FAILURES = Counter(
    "runstream_matcher_failures_total", "Records, or items, on which an expression failed"
)
TRIGGERS = Gauge("runstream_matcher_triggers", "Triggers that are followed")


@dataclass(slots=True)
class _Failing:
    """What a trigger has failed on since that was said last."""

    said_at: float = float("-inf")
    count: int = 0
    last: MatchFailed | None = None


@dataclass(slots=True)
class _Held:
    """What is sent at the end of the batch."""

    records: list[tuple[str, bytes]] = field(default_factory=list)
    size: int = 0

    def add(self, key: str, said: Matched | MatchFailed) -> None:
        value = said.model_dump_json().encode()
        self.records.append((key, value))
        self.size += len(value)


class Matcher:
    """Follows the triggers and reads their topics, until it is stopped; for one thread."""

    def __init__(
        self, settings: MatcherSettings, log: Log, outage: Outage, keys: ProcessKeys
    ) -> None:
        """Connects in `run`."""
        self._settings = settings
        self._log = log
        self._outage = outage
        self._keys = keys
        self._group = f"{settings.topic_prefix}runstream-matcher"
        self._commands = clients.topic_name(settings, TRIGGER_COMMANDS)
        self._failing: dict[str, _Failing] = {}
        self._probed_at = 0.0
        #: Topics of triggers are named as they are: they may be anybody's.
        self._lag = ConsumerLag("runstream-matcher")

    def run(self, stop: threading.Event) -> None:
        """Work until the stop event; raises KafkaException for what an operator must mend."""
        while not stop.is_set():
            try:
                self._work(stop)
            except KafkaException as error:
                if reason(error.args[0]).sentence == CONFIGURATION:
                    raise
                # The clients are made anew, and begin at what is committed.
                stop.wait(self._outage.failed(error.args[0]))

    def _work(self, stop: threading.Event) -> None:
        known = KnownTriggers(self._settings)
        producer = _Sender(self._settings, self._commands, self._keys)
        held = _Held()

        def send() -> None:
            producer.send(held)
            source.commit()

        chosen = sources.options(self._settings, self._group, self._on_error)
        source = Sources(chosen, known, send, self._log)
        try:
            self._keys.on_cluster(producer.cluster())
            while not stop.is_set() and not known.is_complete:
                known.poll(_IDLE_SECONDS)
            self._log.info("triggers known", triggers=len(known.triggers))
            while not stop.is_set():
                source.learn(known.poll(0))
                TRIGGERS.set(len(known.triggers))
                if source.subscribe():
                    self._batch(source, known, held)
                else:
                    stop.wait(_IDLE_SECONDS)
                self._say_failures(known, held)
                send()
                self._is_well(source)
        finally:
            source.close()
            known.close()
            producer.close()

    def _batch(self, source: Sources, known: KnownTriggers, held: _Held) -> None:
        """Look at what is there, up to the limits of a batch."""
        until = clock.monotonic() + _BATCH_SECONDS
        wait = _IDLE_SECONDS
        for _ in range(_BATCH_RECORDS):
            message = source.poll(wait)
            if message is None:
                return
            self._look(message, source, known, held)
            source.done(message)
            wait = 0
            if held.size > _BATCH_BYTES or clock.monotonic() > until:
                return

    def _look(self, message: Message, source: Sources, known: KnownTriggers, held: _Held) -> None:
        _RECORDS.inc()
        record: Record | None = None
        for watched in known.on(str(message.topic())):
            if not source.wants(watched, message):
                continue
            record = record or read(message)
            deadline = clock.monotonic() + _RECORD_SECONDS
            for found in matching.look(watched, record, lambda at=deadline: clock.monotonic() > at):  # type: ignore[misc]
                if isinstance(found, Match):
                    _MATCHES.inc()
                    held.add(watched.key, _matched(watched, record, found))
                elif isinstance(found, Failure):
                    _FAILURES.inc()
                    failing = self._failing.setdefault(watched.key, _Failing())
                    failing.count += 1
                    failing.last = _failed(watched, record, found)

    def _say_failures(self, known: KnownTriggers, held: _Held) -> None:
        now = clock.monotonic()
        for key, failing in list(self._failing.items()):
            watched = known.triggers.get(key)
            if watched is None:
                del self._failing[key]
            elif failing.last is not None and now - failing.said_at > FAILED_SECONDS:
                held.add(key, failing.last.model_copy(update={"count": failing.count}))
                self._failing[key] = _Failing(now)

    def _is_well(self, source: Sources) -> None:
        """Report what works, how far behind it is; ask the broker whether an error is over."""
        now = clock.monotonic()
        if now - self._probed_at < _PROBE_SECONDS:
            return
        self._probed_at = now
        self._lag.show(source.lag())
        if not self._outage.has_failed:
            self._outage.recovered()
        elif source.answers(self._commands):
            self._outage.answered()

    def _on_error(self, error: KafkaError) -> None:
        """Take an error that the consumer reports by itself."""
        if error.code() not in PASSING:
            self._outage.report(error)


class _Sender:
    """Signs and sends what was found; returns when the broker has all of it."""

    def __init__(self, settings: MatcherSettings, topic: str, keys: ProcessKeys) -> None:
        self._producer: Any = Producer(clients.producer(settings))
        self._topic = topic
        self._keys = keys

    def cluster(self) -> str:
        """The id of the cluster; raises KafkaException."""
        return cluster_id(self._producer, self._topic)

    def send(self, held: _Held) -> None:
        """Send and forget what is held; raises KafkaException, and then it must be found again."""
        if not held.records:
            return
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failed.append(error)

        tokens = self._keys.signer.tokens(TRIGGER_COMMANDS.name, [one[1] for one in held.records])
        for (key, value), token in zip(held.records, tokens, strict=True):
            self._produce(key, value, token, delivered)
        left = self._producer.flush(_FLUSH_SECONDS)
        held.records.clear()
        held.size = 0
        if failed:
            raise KafkaException(failed[0])
        if left:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{left} matches are not sent"))

    def close(self) -> None:
        """Drop what the broker has not taken."""
        self._producer.purge()
        self._producer.flush(1)

    def _produce(
        self, key: str, value: bytes, token: bytes, delivered: Callable[..., None]
    ) -> None:
        given = headers(
            ident=key, kind="trigger.match", source=SOURCE, time=iso(clock.now()), subject=key
        )
        until = clock.monotonic() + _FLUSH_SECONDS
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    key=key.encode(),
                    value=value,
                    headers=[*given, (SIGNATURE, token)],
                    on_delivery=delivered,
                )
            except BufferError:
                if clock.monotonic() > until:
                    raise KafkaException(
                        KafkaError(KafkaError._QUEUE_FULL, "matches wait for the broker")
                    ) from None
                self._producer.poll(0.1)
                continue
            self._producer.poll(0)
            return


def read(message: Message) -> Record:
    """A record that was polled, as expressions see it."""
    _, at_ms = message.timestamp()
    return matching.read(
        str(message.topic()),
        int(message.partition() or 0),
        int(message.offset() or 0),
        min(max(at_ms, 0), _LAST_MS),
        message.key(),
        message.value(),
        message_headers(message),
    )


def _matched(watched: Watched, record: Record, match: Match) -> Matched:
    found = _found(watched, record)
    return Matched(item=match.item, same=match.same, inputs=match.inputs, **found)


def _failed(watched: Watched, record: Record, failure: Failure) -> MatchFailed:
    found = _found(watched, record)
    return MatchFailed(field=failure.field[:200], error=failure.error[:500], count=1, **found)


def _found(watched: Watched, record: Record) -> dict[str, Any]:
    """What both say: of which trigger, and where the record stands."""
    return {
        "tenant": watched.tenant,
        "name": watched.name,
        "definition": watched.definition,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "at": _moment(record),
    }


def _moment(record: Record) -> datetime:
    return datetime.fromtimestamp(record.at_ms / 1_000, UTC)
