"""One real broker and one real database for the whole session.

`tests/servers.py` says where they come from. Tests keep apart by topic prefix (`topics`) and by
database (`database`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from psycopg import sql

from devstack.kafka import KafkaServer
from devstack.postgres import PostgresServer
from devstack.stack import LocalStack
from streams.topics import Topic, all_topics
from tests.brokers import client_options, remember
from tests.servers import Source, choose, engine_answers, kafka_container, postgres_container


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder into which programs of steps may write: they have users of their own."""
    folder = Path(tempfile.mkdtemp(prefix="open-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def cgroups_alone() -> Iterator[None]:
    """No two tests that use it run at the same time, in whichever files and processes: one of them
    counts the cgroups of this machine, and the others make some."""
    with Path(__file__).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[str]:
    """The bootstrap servers of a real Kafka."""
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    source = choose(given, engine_answers())
    if source is Source.GIVEN and given:
        yield given
    elif source is Source.CONTAINER:
        with kafka_container() as servers:
            yield servers
    elif _needs_whole_stack(request):
        yield remember(_whole_stack(request).client_options)
    else:
        server = KafkaServer(_folder(request, "kafka"))
        server.start()
        try:
            yield remember(server.client_options)
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    """The DSN of a real Postgres, with the right to create databases."""
    given = os.environ.get("DATABASE_URL")
    source = choose(given, engine_answers())
    if source is Source.GIVEN and given:
        yield given
    elif source is Source.CONTAINER:
        with postgres_container() as dsn:
            yield dsn
    elif _needs_whole_stack(request):
        yield _whole_stack(request).database_url
    else:
        server = PostgresServer(_folder(request, "postgres") / "server")
        server.start()
        try:
            yield server.dsn
        finally:
            server.stop()
            server.remove()


def _needs_whole_stack(request: pytest.FixtureRequest) -> bool:
    """Whether a test of this run uses the whole stack: then its servers do for the others too."""
    return any("stack" in getattr(item, "fixturenames", ()) for item in request.session.items)


def _whole_stack(request: pytest.FixtureRequest) -> LocalStack:
    stack, _ = request.getfixturevalue("stack")
    assert isinstance(stack, LocalStack)
    return stack


def _folder(request: pytest.FixtureRequest, name: str) -> Path:
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    return factory.mktemp(name)


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
def topics(kafka: str) -> Iterator[Callable[..., str]]:
    """Creates topics under a prefix of the test's own and returns the prefix.

    They are deleted after the test: a broker that keeps thousands of partitions takes ever longer
    to create the next ones.
    """
    admin = AdminClient(client_options(kafka))
    made: list[str] = []

    def create(*wanted: Topic) -> str:
        prefix = f"t{uuid.uuid4().hex[:10]}."
        new = [
            NewTopic(prefix + topic.name, topic.partitions, 1, config=topic.config())
            for topic in wanted or all_topics()
        ]
        made.extend(topic.topic for topic in new)
        for future in admin.create_topics(new, operation_timeout=60).values():
            future.result(90)
        return prefix

    yield create
    if made:
        for future in admin.delete_topics(made, operation_timeout=30).values():
            future.result(60)
