"""One real broker and one real database for the whole session.

`KAFKA_BOOTSTRAP_SERVERS` and `DATABASE_URL` name existing ones; otherwise the embedded ones are
started. Tests keep apart by topic prefix (`topics`) and by database (`database`).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from psycopg import sql

from devstack.kafka import KafkaServer
from devstack.postgres import PostgresServer
from streams.topics import Topic, all_topics


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap servers of a real Kafka."""
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        yield given
        return
    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    server.start()
    try:
        yield server.bootstrap_servers
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of a real Postgres, with the right to create databases."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        return
    server = PostgresServer(tmp_path_factory.mktemp("postgres") / "server")
    server.start()
    try:
        yield server.dsn
    finally:
        server.stop()
        server.remove()


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The DSN of an empty database of the test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield psycopg.conninfo.make_conninfo(postgres, dbname=name)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def topics(kafka: str) -> Callable[..., str]:
    """Creates topics under a prefix of the test's own and returns the prefix."""

    def create(*wanted: Topic) -> str:
        prefix = f"t{uuid.uuid4().hex[:10]}."
        admin = AdminClient({"bootstrap.servers": kafka})
        new = [
            NewTopic(prefix + topic.name, topic.partitions, 1, config=topic.config())
            for topic in wanted or all_topics()
        ]
        for future in admin.create_topics(new, operation_timeout=20).values():
            future.result(30)
        return prefix

    return create
