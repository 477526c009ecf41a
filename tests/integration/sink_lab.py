"""A laboratory for the sink: topics and a database of its own, and sinks in threads or processes.

One broker and one Postgres serve all tests; a topic prefix and a database keep them apart.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from pydantic import SecretStr

from runtime import logs
from runtime.health import Health
from runtime.settings import SinkSettings
from sinks.app import READS, Sink
from sinks.migrate import migrate
from sinks.tables import TABLES
from streams.ids import partition_for, route_of
from streams.topics import EVENTS
from tests import brokers
from tests.brokers import client_options

PARTITIONS = 2
#: The broker's default of 45 s would be the length of every test with a crash.
SESSION = {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 1_000}
ROOT = Path(__file__).resolve().parents[2]


def eventually(condition: Callable[[], bool], what: str, seconds: float = 90.0) -> None:
    """Wait until the condition holds; fail with `what` when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


class Lab:
    """Everything around a sink."""

    def __init__(self, kafka: str, postgres: str) -> None:
        self.kafka = kafka
        self.prefix = f"t{uuid.uuid4().hex[:10]}."
        self.server = postgres
        self.dsn = self.database()
        self.admin = AdminClient({**client_options(kafka), "log_level": 2})
        names = [self.topic(topic.name) for topic in (*READS, *_sources())]
        self.create(names)
        self.producer = Producer({**client_options(kafka), "linger.ms": 5, "log_level": 2})

    def create(self, names: Iterable[str]) -> None:
        """Make topics."""
        futures = self.admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in set(names)])
        for future in futures.values():
            future.result(30)

    def topic(self, name: str) -> str:
        """The name of a topic in this laboratory."""
        return self.prefix + name

    def database(self, *, migrated: bool = True) -> str:
        """A new database."""
        name = f"t{uuid.uuid4().hex[:10]}"
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        dsn = urlunsplit(urlsplit(self.server)._replace(path=f"/{name}"))
        if migrated:
            migrate(dsn)
        return dsn

    def settings(self, dsn: str | None = None, prefix: str | None = None) -> SinkSettings:
        """The settings of a sink here."""
        return SinkSettings(
            bootstrap_servers=self.kafka,
            topic_prefix=self.prefix if prefix is None else prefix,
            database_url=SecretStr(dsn or self.dsn),
            instance=f"sink-{uuid.uuid4().hex[:6]}",
            batch_records=500,
            kafka_options=brokers.kafka_options(self.kafka, SESSION),
        )

    @contextmanager
    def sink(self, dsn: str | None = None, *, health: Health | None = None) -> Iterator[Sink]:
        """A sink in a thread, stopped in the end; its failure fails the test."""
        settings = self.settings(dsn)
        stop = threading.Event()
        log = logs.configure(settings, "sink")
        sink = Sink(settings, log, health or Health(("kafka", "database")), stop)
        failures: list[BaseException] = []

        def run() -> None:
            try:
                sink.run()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield sink
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive(), "the sink does not stop"
            if failures:
                raise failures[0]

    def process(self, before: str = "", dsn: str | None = None) -> subprocess.Popen[bytes]:
        """A sink in a process of its own; `before` is Python that runs first (crash points)."""
        code = f"import os, sys\n{before}\nfrom sinks.app import main\nsys.exit(main())"
        env = {
            **{name: value for name, value in os.environ.items() if name[:9] != "RUNSTREAM"},
            **brokers.environment(self.kafka, SESSION),
            "DATABASE_URL": dsn or self.dsn,
            "RUNSTREAM_TOPIC_PREFIX": self.prefix,
            "RUNSTREAM_BATCH_RECORDS": "500",
        }
        return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env)

    def send(self, values: Iterable[bytes], *, headers: Any = None) -> None:
        """Produce events to their partitions and wait for the broker."""
        for value in values:
            key = route_of(_execution_id(value)).encode()
            self.put(EVENTS.name, value, key=key, headers=headers)
        assert self.producer.flush(30) == 0

    def put(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes = b"00000000",
        partition: int | None = None,
        headers: Any = None,
    ) -> None:
        """Produce one record; `flush` is the caller's."""
        place = partition_for(key, PARTITIONS) if partition is None else partition
        while True:
            try:
                self.producer.produce(
                    self.topic(topic), value, key=key, partition=place, headers=headers
                )
                return
            except BufferError:
                self.producer.poll(0.1)

    def query(self, sql: str, dsn: str | None = None) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with psycopg.connect(dsn or self.dsn) as connection:
            return connection.execute(sql.encode()).fetchall()

    def count(self, table: str, dsn: str | None = None) -> int:
        """How many rows a table has."""
        return int(self.query(f"SELECT count(*) FROM execution.{table}", dsn)[0][0])

    def content(self, dsn: str | None = None) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that the sink wrote, in one order."""
        return {
            table.name: self.query(
                f"SELECT to_jsonb(t)::text FROM execution.{table.name} AS t ORDER BY 1", dsn
            )
            for table in TABLES
        }

    def records(self, topic: str) -> list[Message]:
        """Every committed record of a topic."""
        consumer = Consumer(
            {
                **client_options(self.kafka),
                "group.id": uuid.uuid4().hex,
                "enable.partition.eof": True,
            }
        )
        found: list[Message] = []
        try:
            for partition in range(PARTITIONS):
                consumer.assign([TopicPartition(self.topic(topic), partition, 0)])
                while True:
                    message = consumer.poll(10)
                    assert message is not None, f"{topic} does not answer"
                    error = message.error()
                    if error is not None:
                        assert error.code() == KafkaError._PARTITION_EOF
                        break
                    found.append(message)
        finally:
            consumer.close()
        return found

    def close(self) -> None:
        """Remove the topics."""
        names = {self.topic(topic.name) for topic in (*READS, *_sources())}
        for future in self.admin.delete_topics(list(names)).values():
            future.result(30)


def _sources() -> tuple[Any, ...]:
    from streams.topics import CONTROL, REQUESTS

    return (REQUESTS, CONTROL)


def _execution_id(value: bytes) -> str:
    import orjson

    return str(orjson.loads(value)["execution_id"])
