"""Who may do what on a broker that enforces ACLs, every declared cell tried for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    NewTopic,
    ScramMechanism,
    UserScramCredentialDeletion,
)

from console.cli import main
from console.exits import Exit
from runtime.kafka import access
from streams.access import Operation, Principal, principals
from streams.topics import EVENTS, PROGRESS, REQUESTS, all_topics
from tests import acl_table
from tests.brokers import client_options, environment
from tests.conftest import POLICY
from tests.signing import Keyring

_REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
_SECONDS = 60.0


class Cluster:
    """Topics of the test's own, and a user for each declared principal."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self.kafka = kafka
        self.prefix = prefix
        self.topics = [prefix + topic.name for topic in all_topics()]
        self.declared = principals(prefix, test_tools=True)
        self.passwords = {one.name: uuid.uuid4().hex for one in self.declared}
        admin = AdminClient(client_options(kafka))
        access.apply(admin, self.declared, remove=False)
        access.set_passwords(admin, self.passwords)

    def options(self, name: str, **more: Any) -> dict[str, Any]:
        """The options of a client of that user."""
        login = {"sasl.username": name, "sasl.password": self.passwords[name]}
        return {**client_options(self.kafka), **login, "log_level": 0, **more}

    def named(self, word: str) -> Principal:
        [found] = [one for one in self.declared if one.name == self.prefix + word]
        return found


@pytest.fixture
def cluster(kafka: str, topics: Callable[..., str]) -> Cluster:
    return Cluster(kafka, topics())


def writable(options: dict[str, Any], topics: list[str]) -> set[str]:
    """The topics that take a record; every other one has to be refused, not to fail otherwise."""
    producer = Producer({**options, "message.timeout.ms": 30_000})
    taken: set[str] = set()
    refused: set[str] = set()

    def delivered(error: KafkaError | None, message: Any) -> None:
        if error is None:
            taken.add(message.topic())
        else:
            assert error.code() in _REFUSED, error.str()
            refused.add(message.topic())

    for topic in topics:
        # With a key: a compacted topic takes no record without one, whoever writes it.
        producer.produce(topic, b"x", b"key", partition=0, on_delivery=delivered)
    assert producer.flush(_SECONDS) == 0
    assert taken | refused == set(topics)
    return taken


def readable(options: dict[str, Any], prefix: str, topics: list[str]) -> set[str]:
    """The topics of which the record at offset 0 is read; every other one has to be refused.

    Whoever may read a topic may see that it is there; what a user may not even see is asked for
    one by one, since the consumer does not always tell that it waits for such a topic.
    """
    group = {"group.id": f"{prefix}runstream-readers", "enable.auto.commit": False}
    consumer = Consumer({**options, **group})
    found: set[str] = set()
    refused: set[str] = set()
    try:
        for topic in topics:
            unseen = consumer.list_topics(topic, timeout=_SECONDS).topics[topic].error
            if unseen is not None:
                assert unseen.code() in _REFUSED, unseen.str()
                refused.add(topic)
        seen = [topic for topic in topics if topic not in refused]
        consumer.assign([TopicPartition(topic, 0, 0) for topic in seen])
        deadline = time.monotonic() + _SECONDS
        while found | refused != set(topics):
            assert time.monotonic() < deadline, set(topics) - found - refused
            message = consumer.poll(0.2)
            if message is None:
                continue
            error = message.error()
            if error is None:
                found.add(str(message.topic()))
            else:
                assert error.code() in _REFUSED, error.str()
                refused.add(str(message.topic()))
    finally:
        consumer.close()
    assert not found & refused
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_user_reads_and_writes_what_is_declared_and_nothing_else(cluster: Cluster) -> None:
    # One record in each topic, for those that may read.
    assert writable(client_options(cluster.kafka), cluster.topics) == set(cluster.topics)
    cells = 0
    wrote: dict[str, set[str]] = {topic.name: set() for topic in all_topics()}
    read: dict[str, set[str]] = {topic.name: set() for topic in all_topics()}
    for user in cluster.declared:
        options = cluster.options(user.name)
        declared = {
            operation: {topic for topic in cluster.topics if user.may(operation, topic)}
            for operation in (Operation.READ, Operation.WRITE)
        }
        taken = writable(options, cluster.topics)
        seen = readable(options, cluster.prefix, cluster.topics)
        assert (taken, seen) == (declared[Operation.WRITE], declared[Operation.READ]), user.name
        for topics, users in ((taken, wrote), (seen, read)):
            for topic in topics:
                users[topic.removeprefix(cluster.prefix)].add(
                    user.name.removeprefix(cluster.prefix)
                )
        cells += 2 * len(cluster.topics)
    assert cells == 2 * len(cluster.declared) * len(all_topics())
    # And as somebody has written it down who did not look at the declaration.
    for table, found in ((acl_table.WRITERS, wrote), (acl_table.READERS, read)):
        assert found == {topic: {*users, "admin"} for topic, users in table.items()}


def test_nobody_joins_the_group_of_a_process_or_takes_its_transactions(cluster: Cluster) -> None:
    people = cluster.named("people")
    group = {"group.id": f"{cluster.prefix}runstream-sink", "enable.auto.commit": False}
    consumer = Consumer(cluster.options(people.name, **group))
    try:
        consumer.subscribe([cluster.prefix + EVENTS.name])
        message = None
        deadline = time.monotonic() + _SECONDS
        while message is None and time.monotonic() < deadline:
            message = consumer.poll(1.0)
        assert message is not None
        error = message.error()
        assert error is not None
        assert error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
    finally:
        consumer.close()
    executor = cluster.named("executor-automation")
    for taken in ("runstream-router-router", "runstream-executor-network-bulk-one"):
        transactional = {"transactional.id": f"{cluster.prefix}{taken}"}
        with pytest.raises(KafkaException) as refused:
            Producer(cluster.options(executor.name, **transactional)).init_transactions(30)
        code = refused.value.args[0].code()
        assert code == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


def test_nobody_but_the_owner_changes_rights_or_makes_topics(cluster: Cluster) -> None:
    for user in (cluster.named("people"), cluster.named("executor-automation")):
        admin = AdminClient(cluster.options(user.name))
        [made] = admin.create_topics([NewTopic(f"{cluster.prefix}own", 1, 1)]).values()
        with pytest.raises(KafkaException) as refused:
            made.result(30)
        assert refused.value.args[0].code() in _REFUSED
        with pytest.raises(KafkaException) as refused:
            access.apply(admin, [cluster.named("admin")], remove=False)
        assert refused.value.args[0].code() in _REFUSED


@pytest.mark.parametrize(
    "wrong",
    [
        {"security.protocol": "PLAINTEXT"},
        {"sasl.password": "another"},
        {"sasl.username": "somebody"},
        {"sasl.mechanism": "PLAIN"},
    ],
)
def test_nobody_connects_without_the_login(kafka: str, wrong: dict[str, str]) -> None:
    admin = AdminClient({**client_options(kafka), **wrong, "log_level": 0})
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=3)


class Processes:
    """Processes that log in as the users that `topics acls --apply --users` has made."""

    def __init__(self, kafka: str, prefix: str, dsn: str, folder: Path) -> None:
        self._variables = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "DATABASE_URL": dsn,
            "RUNSTREAM_TOPIC_PREFIX": prefix,
            "RUNSTREAM_TEST_TOOLS": "true",
            "RUNSTREAM_LOG_FORMAT": "json",
            "RUNSTREAM_POLICY": str(POLICY),
        }
        self._keys = Keyring(folder.parent, kafka, prefix)
        self._prefix = prefix
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def variables(self, user: str) -> dict[str, str]:
        options = (self._folder / f"{self._prefix}{user}.json").read_text()
        return {**self._variables, "RUNSTREAM_KAFKA_OPTIONS": options, "RUNSTREAM_INSTANCE": user}

    def start(self, user: str, *arguments: str) -> None:
        command = [sys.executable, "-m", "console", *arguments]
        variables = {**self.variables(user), **self._keys.environment(arguments)}
        with (self._folder / f"{user}.log").open("wb") as log:
            process = subprocess.Popen(command, env=variables, stderr=log, stdout=log)
        self._running.append(process)

    def run(self, user: str, *arguments: str) -> str:
        command = [sys.executable, "-m", "console", *arguments]
        ended = subprocess.run(
            command, env=self.variables(user), capture_output=True, text=True, timeout=120
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr + self.logs()
        return ended.stdout

    def logs(self) -> str:
        return "".join(file.read_text() for file in self._folder.glob("*.log"))

    def stop(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(60)


@pytest.fixture
def processes(
    kafka: str,
    topics: Callable[..., str],
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Processes]:
    prefix = topics()
    for name, value in environment(kafka).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RUNSTREAM_TOPIC_PREFIX", prefix)
    monkeypatch.setenv("RUNSTREAM_TEST_TOOLS", "true")
    folder = tmp_path / "users"
    assert main(["topics", "acls", "--apply", "--users", str(folder)]) == 0
    made = Processes(kafka, prefix, database, folder)
    yield made
    made.stop()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_plan_runs_with_a_user_for_each_process(
    processes: Processes, database: str, tmp_path: Path
) -> None:
    processes.run("admin", "migrate")
    processes.run("admin", "topics", "apply")
    processes.start("router", "router")
    processes.start("executor-test", "executor", "--domain", "test")
    processes.start("sink", "sink")
    processes.start("projector", "projector")
    plan = tmp_path / "plan.json"
    steps: list[dict[str, Any]] = [{"tool": "noop"}, {"tool": "noop", "depends_on": ["noop"]}]
    plan.write_text(json.dumps({"steps": [{"id": "noop", **steps[0]}, steps[1]]}))
    processes.run("people", "run", str(plan))
    people = processes.variables("people")
    options: dict[str, Any] = json.loads(people["RUNSTREAM_KAFKA_OPTIONS"])
    prefix = people["RUNSTREAM_TOPIC_PREFIX"]
    # As any client does it, with bytes that become a dead letter.
    producer = Producer(
        {**options, "bootstrap.servers": people["KAFKA_BOOTSTRAP_SERVERS"], "log_level": 0}
    )
    producer.produce(prefix + REQUESTS.name, b"\xff")
    assert producer.flush(30) == 0
    wanted = [
        "SELECT count(*) FROM execution.executions WHERE status = 'completed'",
        "SELECT count(*) FROM execution.execution_dlq",
    ]
    deadline = time.monotonic() + _SECONDS
    with psycopg.connect(database, autocommit=True) as connection:
        while [connection.execute(query).fetchall() for query in wanted] != [[(1,)], [(1,)]]:
            assert time.monotonic() < deadline, processes.logs()
            time.sleep(0.2)
    assert len(json.loads(processes.run("people", "dlq", "list", "--json"))) == 1
    progress = Consumer(
        {
            **options,
            "bootstrap.servers": people["KAFKA_BOOTSTRAP_SERVERS"],
            "group.id": f"{prefix}people-test",
            "auto.offset.reset": "earliest",
        }
    )
    try:
        progress.subscribe([prefix + PROGRESS.name])
        message = None
        deadline = time.monotonic() + _SECONDS
        while message is None:
            assert time.monotonic() < deadline, processes.logs()
            message = progress.poll(1.0)
        assert message.error() is None
    finally:
        progress.close()
    assert "uthorization" not in processes.logs()
    assert "AUTHORIZATION" not in processes.logs()


def test_users_keep_their_passwords_and_nobody_else_reads_them(
    processes: Processes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "users"
    before = {file.name: file.read_text() for file in folder.iterdir()}
    assert all(file.stat().st_mode & 0o077 == 0 for file in (folder, *folder.iterdir()))
    assert main(["topics", "acls", "--apply", "--users", str(folder)]) == 0
    said = capsys.readouterr()
    assert "0 ACLs created" in said.err + said.out
    assert {file.name: file.read_text() for file in folder.iterdir()} == before


def test_a_cluster_that_lost_its_users_gets_them_again(
    processes: Processes, kafka: str, tmp_path: Path
) -> None:
    folder = tmp_path / "users"
    admin = AdminClient(client_options(kafka))
    options = json.loads(next(folder.glob("*people.json")).read_text())
    lost = UserScramCredentialDeletion(options["sasl.username"], ScramMechanism.SCRAM_SHA_256)
    for future in admin.alter_user_scram_credentials([lost]).values():
        future.result(30)
    assert main(["topics", "acls", "--apply", "--users", str(folder)]) == 0
    known: Any = admin.describe_user_scram_credentials([options["sasl.username"]])
    for found in known.values():
        assert found.result(30).scram_credential_infos
    processes.run("people", "dlq", "list", "--json")


def test_a_refused_login_is_said(
    kafka: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(kafka, {"sasl.password": "another"}).items():
        monkeypatch.setenv(name, value)
    assert main(["topics", "show"]) == Exit.UNREACHABLE
    said = capsys.readouterr().err
    assert f"the Kafka brokers at {kafka} refuse the login" in said
    assert "RUNSTREAM_KAFKA_OPTIONS" in said
    assert "another" not in said
