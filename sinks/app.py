"""The sink process: events, output and dead letters from Kafka into Postgres, exactly once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import psycopg
from confluent_kafka import Message
from psycopg.conninfo import conninfo_to_dict

from runtime import service
from runtime.clock import monotonic, now
from runtime.health import Health
from runtime.kafka import clients
from runtime.kafka.dead_letters import SUFFIX, count_from_zero
from runtime.kafka.dlq_limit import DlqLimit, DlqLimitReached
from runtime.kafka.lag import ConsumerLag
from runtime.logs import Log
from runtime.settings import SinkSettings
from sinks import metrics, store_spans, trace_reader
from sinks.dead_letter_writer import GROUP, DeadLetterWriter, NotDelivered
from sinks.postgres import Database, PartitionKey, StalePosition
from sinks.reading import Reading, read
from sinks.refusals import RefusedRow, needs_migration
from sinks.retention_schedule import RetentionThread
from sinks.source import Source
from streams.topics import DEAD_LETTERS, EVENTS, OUTPUT, Topic

#: What the sink subscribes to; the topology declares the same.
READS: Final[tuple[Topic, ...]] = (EVENTS, OUTPUT, *DEAD_LETTERS.values())

_POLL_SECONDS: Final = 0.25
_FIRST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 5.0
#: A failure within this time after a recovery belongs to the same outage.
_SAME_OUTAGE: Final = 30.0
_PROBE_SECONDS: Final = 2.0
_EMPTY_POLLS: Final = 20


class Sink:
    """The loop: read, decode, store with the positions in one transaction, go on."""

    def __init__(
        self, settings: SinkSettings, log: Log, health: Health, stop: threading.Event
    ) -> None:
        """Join the consumer group; the database is opened by the loop."""
        self._settings = settings
        self._log = log
        self._health = health
        self._stop = stop
        self._output = clients.topic_name(settings, OUTPUT)
        topics = [clients.topic_name(settings, topic) for topic in READS]
        self._group = settings.topic_prefix + GROUP
        self._source = Source(settings, self._group, topics)
        self._dead_letters = DeadLetterWriter(settings)
        self._limit = DlqLimit()
        self._database: Database | None = None
        self._positions: dict[PartitionKey, int] = {}
        self._wait = _FIRST_WAIT
        self._unstored = False
        self._empty = 0
        self._said: dict[str, str] = {}
        self._back_at: dict[tuple[str, str], float] = {}
        self._lag = ConsumerLag(settings.topic_prefix + GROUP, settings.topic_prefix)
        #: When the broker got the oldest record of the last batch; None where nothing is left.
        self._oldest: float | None = None
        metrics.BEHIND.set_function(self._behind)
        self._next_probe = 0.0

    def run(self) -> None:
        """Work until stopped; the current batch is stored as a whole or not at all."""
        try:
            while not self._stop.is_set():
                try:
                    self._step()
                except psycopg.Error as error:
                    self._database_failed(error)
                except StalePosition as error:
                    # Another instance has the partitions; this was read before the revocation.
                    self._log.warning("position moved by another instance", why=str(error))
                    self._source.pause()
                except NotDelivered as error:
                    self._back_off("kafka", "letter", f"a dead letter is not confirmed: {error}")
                except DlqLimitReached as error:
                    self._stop_consuming(str(error))
            if self._source.problem is None:
                self._source.commit(self._positions, now=True)
        finally:
            self._source.close()
            self._dead_letters.close()
            if self._database is not None:
                self._database.close()

    def _step(self) -> None:
        if self._database is None:
            self._database = Database(self._settings.database_url.get_secret_value())
            self._source.pause()
        waiting = self._source.awaiting_seek
        if waiting:
            self._positions = self._database.positions(waiting)
            self._source.seek(self._positions)
            self._recovered("database")
        messages = self._source.collect(self._settings.batch_records, _POLL_SECONDS)
        if messages:
            self._unstored, self._empty = True, 0
            self._oldest = min(message.timestamp()[1] for message in messages) / 1_000
            self._store(self._database, messages)
            self._unstored = False
            self._recovered("database")
            self._recovered("kafka")
        else:
            self._nothing_read()
        self._source.commit(self._positions)
        self._gauge()

    def _store(self, database: Database, messages: list[Message]) -> None:
        begun = monotonic()
        reading = read(messages, self._positions, self._output)
        bad = len(reading.unreadable)
        self._limit.check(reading.records, bad)
        if bad:
            self._dead_letters.write(
                [(message, why[0], why[1], "decode") for message, why in reading.unreadable]
            )
        refused = database.write(
            reading.batch, lambda rows: self._dead_letter_refused(reading, rows, bad)
        )
        self._dead_letters.forget()
        for place, move in reading.batch.advances.items():
            self._positions[place] = move.following
        self._limit.count(reading.records, bad + len(refused))
        self._count(reading, refused)
        metrics.BATCH.observe(monotonic() - begun)
        metrics.DELAY.observe(self._behind())
        store_spans.tell(reading, self._group, monotonic() - begun)

    def _dead_letter_refused(self, reading: Reading, rows: Sequence[RefusedRow], bad: int) -> None:
        self._limit.check(reading.records, bad + len(rows))
        failed = []
        for row in rows:
            self._log.warning(
                "row refused", topic=row.topic, partition=row.partition, offset=row.offset,
                why=row.message,
            )  # fmt: skip
            if self._kind(row.topic) != "dead_letter":
                message = reading.messages[row.topic, row.partition, row.offset]
                failed.append((message, "refused_by_database", row.message, "store"))
            # A dead letter that cannot be archived is on its own topic all the same.
        self._dead_letters.write(failed)

    def _count(self, reading: Reading, refused: Sequence[RefusedRow]) -> None:
        batch = reading.batch
        stored = {
            "event": len(batch.events),
            "output": len(batch.output),
            "dead_letter": len(batch.dead_letters),
        }
        for row in refused:
            stored[self._kind(row.topic)] -= 1
        for kind, rows in stored.items():
            metrics.ROWS.labels(kind).inc(rows)
        if reading.unreadable:
            first = reading.unreadable[0][1].message
            self._log.warning("dead letters", records=len(reading.unreadable), first=first)

    def _kind(self, topic: str) -> str:
        if topic.endswith(SUFFIX):
            return "dead_letter"
        return "output" if topic == self._output else "event"

    def _nothing_read(self) -> None:
        """No record came: find out whether there is none or the broker is away."""
        self._empty += 1
        if not self._unstored:
            self._oldest = None
        if self._unstored and self._empty > _EMPTY_POLLS:
            # The partitions of the batch that could not be stored are assigned to another instance.
            self._unstored = False
            self._recovered("database")
        if self._source.problem is not None and monotonic() >= self._next_probe:
            self._source.probe()
            self._next_probe = monotonic() + _PROBE_SECONDS
        problem = self._source.problem
        if problem is None:
            self._recovered("kafka")
        else:
            self._report_waiting("kafka", "source", problem)

    def _recovered(self, part: str) -> None:
        # The batch that could not be stored is read again: only its success ends the outage.
        if self._unstored:
            return
        self._wait = _FIRST_WAIT
        self._health.ready(part)
        kind = self._said.pop(part, None)
        if kind is not None:
            self._back_at[part, kind] = monotonic()
            self._log.info(f"{part} is back")

    def _report_waiting(self, part: str, kind: str, why: str) -> None:
        """Update the reason for health, and log it once for each kind of failure."""
        self._health.waiting(part, why)
        if self._said.get(part) == kind:
            return
        self._said[part] = kind
        # A server that starts is reachable on and off for a while: one outage, logged once.
        back_at = self._back_at.get((part, kind))
        if back_at is None or monotonic() - back_at > _SAME_OUTAGE:
            self._log.warning(f"waiting for {part}", why=why)

    def _database_failed(self, error: psycopg.Error) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        if needs_migration(error):
            self._back_off("database", "tables", "the tables are missing or old: runstream migrate")
        else:
            self._back_off("database", "away", _sentence(error))

    def _back_off(self, part: str, kind: str, why: str) -> None:
        """Stay in the group, read nothing, and try again later."""
        self._report_waiting(part, kind, why)
        self._source.pause()
        until = monotonic() + self._wait
        self._wait = min(self._wait * 2, _LONGEST_WAIT)
        while not self._stop.is_set() and monotonic() < until:
            self._source.poll(0.1)

    def _stop_consuming(self, why: str) -> None:
        """Stop consuming until an operator restarts it; the process stays, unready."""
        self._health.waiting("kafka", f"stopped consuming: {why}")
        self._log.error("stopped consuming", why=why, remedy="see docs/dead-letters.md")
        self._source.pause()
        while not self._stop.is_set():
            self._source.poll(0.5)

    def _behind(self) -> float:
        """The age of the oldest record of the last batch, stored or not; from any thread."""
        oldest = self._oldest
        return 0.0 if oldest is None else max(now() - oldest, 0.0)

    def _gauge(self) -> None:
        if self._lag.is_due():
            self._lag.show(self._source.lag())


def _sentence(error: psycopg.Error) -> str:
    """The first line of the message of Postgres, which never holds a connection string."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def body(settings: SinkSettings, log: Log, health: Health, stop: threading.Event) -> None:
    """The body of the process, for `runtime.service`."""
    try:
        conninfo_to_dict(settings.database_url.get_secret_value())
    except psycopg.Error:
        # The driver's message repeats the URL, and with it the password.
        log.error("DATABASE_URL is not a Postgres URL")
        raise SystemExit(2) from None
    classes = ("invalid", "not_json", "unknown_version", "refused_by_database")
    count_from_zero((EVENTS.name, OUTPUT.name), classes)
    if not settings.retention.is_empty:
        RetentionThread(settings, log, stop).start()
    with trace_reader.running(settings, log):
        Sink(settings, log, health, stop).run()


def main() -> int:
    """Run the sink until a stop signal; returns the exit code."""
    return service.run("sink", SinkSettings, ("kafka", "database"), body)
