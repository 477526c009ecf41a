"""The embedded broker lets nobody in without its login, and the login is nowhere to be seen."""

from __future__ import annotations

import re
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from psycopg.conninfo import make_conninfo

from console.cli import main
from devstack.child import Child
from devstack.kafka import KafkaServer
from devstack.kafka_jvm import find_jvm
from devstack.kafka_ready import serves
from devstack.ports import free_port
from devstack.processes import PROJECTOR, ROUTER, executor
from devstack.stack import LocalStack
from runtime.kafka.outage import NOT_ALLOWED

#: A metadata request for all topics, version 1, of a client without a name.
_METADATA = struct.pack(">hhihi", 3, 1, 7, -1, -1)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack of a router, an executor and a projector."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("KAFKA_BOOTSTRAP_SERVERS", "RUNSTREAM_KAFKA_OPTIONS", "DATABASE_URL"):
            environment.delenv(name, raising=False)
        processes = [ROUTER, executor("executor", ["test"]), PROJECTOR]
        folder = tmp_path_factory.mktemp("login") / "state"
        stack = LocalStack(folder, processes=processes, test_tools=True)
        try:
            with stack:
                yield stack
        finally:
            stack.remove()


def answers_strangers(port: int) -> bool:
    """Whether a server tells its metadata to a client that has not logged in."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(struct.pack(">i", len(_METADATA)) + _METADATA)
        try:
            return connection.recv(4) != b""
        except ConnectionResetError:
            return False


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_neither_port_of_the_broker_answers_strangers(own: LocalStack) -> None:
    listening = _listening(own.process("kafka").pid or 0)
    assert int(own.bootstrap_servers.partition(":")[2]) in listening
    assert len(listening) == 2
    for port in listening:
        assert not answers_strangers(port)


def _listening(pid: int) -> list[int]:
    """The TCP ports on which a process listens."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(descriptor.readlink()))
        except OSError:
            continue
    ports = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                ports.append(int(fields[1].rpartition(":")[2], 16))
    return ports


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_password_is_seen_in_arguments_environments_and_logs(own: LocalStack) -> None:
    password = str(own.client_options["sasl.password"])
    kcat = _told(own.client_properties)["sasl.password"]
    assert kcat != password
    folder = own.client_properties.parent
    status = own.status()
    assert status is not None
    pids = [status.supervisor_pid, *(one.pid for one in status.processes if one.pid is not None)]
    for pid in pids:
        for name in ("cmdline", "environ"):
            seen = Path(f"/proc/{pid}/{name}").read_bytes()
            assert password.encode() not in seen, (pid, name)
            assert kcat.encode() not in seen, (pid, name)
            # The users of the processes have passwords of their own.
            assert b"sasl.password" not in seen, (pid, name)
    for log in (folder / "logs").iterdir():
        assert password not in log.read_text(errors="replace"), log
        assert kcat not in log.read_text(errors="replace"), log
        assert "sasl.password" not in log.read_text(errors="replace"), log
    of_kcat = [file for file in folder.rglob("*") if _holds(file, kcat)]
    assert {str(file.relative_to(folder)) for file in of_kcat} == {
        "client.properties",
        "kafka/server.properties",
    }
    holding = [file for file in folder.rglob("*") if _holds(file, password)]
    assert {str(file.relative_to(folder)) for file in holding} == {
        "java.properties",
        "stack.json",
        "kafka/password",
        "kafka/server.properties",
    }
    for file in (*of_kcat, *holding, folder / "kafka", folder / "postgres", folder / "logs"):
        assert file.stat().st_mode & 0o077 == 0, file


def _told(properties: Path) -> dict[str, Any]:
    """What a file of properties says."""
    return dict(line.split("=", 1) for line in properties.read_text().splitlines())


def _holds(file: Path, password: str) -> bool:
    return file.is_file() and "data" not in file.parts and password.encode() in file.read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nobody_reaches_the_database_without_its_password(own: LocalStack) -> None:
    for wrong in (
        {"password": "another"},
        {"password": ""},
        {"password": "", "user": "postgres"},
        {"password": "another", "dbname": "postgres"},
    ):
        with pytest.raises(psycopg.OperationalError, match=r"password|role"):
            psycopg.connect(make_conninfo(own.database_url, **wrong), connect_timeout=10)
    rules = (own.client_properties.parent / "postgres/data/pg_hba.conf").read_text().splitlines()
    methods = {line.split()[-1] for line in rules if line and not line.startswith("#")}
    assert methods == {"scram-sha-256"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_file_is_all_that_kcat_needs(own: LocalStack) -> None:
    if shutil.which("kcat") is None:
        pytest.skip("no kcat on this machine")

    def kcat(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        command = ["kcat", "-F", str(own.client_properties), *arguments]
        return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)

    listed = kcat("-L")
    assert listed.returncode == 0, listed.stderr
    topics = set(re.findall(r'topic "([^"]+)"', listed.stdout))
    # What people may use, and nothing that only processes do.
    assert {"execution.requests", "execution.control", "execution.events"} <= topics
    assert not topics & {"steps.test", "steps.reports", "executors.control", "router.state"}
    sent = kcat("-P", "-t", "execution.requests", given='{"steps":[{"tool":"noop"}]}\n')
    assert sent.returncode == 0, sent.stderr
    refused = kcat("-P", "-t", "steps.test", "-X", "message.timeout.ms=5000", given="{}\n")
    assert "uthorization failed" in refused.stderr
    deadline = time.monotonic() + 60
    seen = ""
    while '"execution.completed"' not in seen:
        assert time.monotonic() < deadline, seen[-2_000:]
        seen = kcat("-C", "-t", "execution.events", "-o", "beginning", "-e", "-q").stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_login_of_kcat_ends_with_the_start_that_made_it(tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    server = KafkaServer(tmp_path / "kafka", kcat=file)
    server.start()
    try:
        first = _told(file)
        # As after a crash: the supervisor starts the same child again.
        server.kill()
        server.start()
        second = _told(file)
        assert first["sasl.username"] == second["sasl.username"]
        assert AdminClient(second).list_topics(timeout=20).brokers
        with pytest.raises(KafkaException):
            AdminClient({**first, "log_level": 0}).list_topics(timeout=3)
        # Nor is the owner's password ever taken that way, in which it would be sent.
        owner: dict[str, Any] = {**server.client_options, "sasl.mechanism": "PLAIN", "log_level": 0}
        with pytest.raises(KafkaException):
            AdminClient(owner).list_topics(timeout=3)
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_commands_log_in_by_themselves(
    own: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNSTREAM_STATE_DIR", str(own.client_properties.parent))
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "RUNSTREAM_KAFKA_OPTIONS", "DATABASE_URL"):
        monkeypatch.setenv(name, "")
    assert main(["topics", "show"]) == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_login_stays_over_a_restart(tmp_path: Path) -> None:
    first = KafkaServer(tmp_path / "kafka")
    first.start()
    options = first.client_options
    first.stop()
    second = KafkaServer(tmp_path / "kafka")
    second.start()
    try:
        assert second.client_options == options
    finally:
        second.stop()


def _without_login(folder: Path) -> tuple[Child, dict[str, str]]:
    """A broker as earlier versions of the stack ran it, with its data in `folder`."""
    jvm = find_jvm(print)
    port = free_port()
    controller = free_port({port})
    properties = folder / "old.properties"
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(folder / "data"),
        "offsets.topic.replication.factor": "1",
    }
    properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    arguments = ["--cluster-id=MkU3OEVBNTcwNTJENDM2Qk", f"--config={properties}"]
    jvm.format(arguments, folder / "old.arguments")
    child = jvm.broker(properties, 256, folder / "old.log", small=True)
    return child, {"bootstrap.servers": f"127.0.0.1:{port}"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_data_of_a_broker_without_a_login_gets_one(tmp_path: Path) -> None:
    folder = tmp_path / "kafka"
    folder.mkdir()
    old, options = _without_login(folder)
    port = int(options["bootstrap.servers"].partition(":")[2])
    old.start()
    try:
        while not serves(port, options):
            assert old.poll() is None, (folder / "old.log").read_text()
        # It ends its requests where it is not kept until they are answered.
        admin = AdminClient(dict(options))
        for done in admin.create_topics([NewTopic("kept", 1, 1)]).values():
            done.result(20)
        producer = Producer(options)
        producer.produce("kept", b"before")
        assert producer.flush(20) == 0
    finally:
        old.stop()

    told: list[str] = []
    server = KafkaServer(folder, report=told.append)
    server.start()
    try:
        assert "the broker's data has no login yet: adding one" in told
        assert not answers_strangers(int(server.bootstrap_servers.partition(":")[2]))
        consumer = Consumer({**server.client_options, "group.id": "test"})
        consumer.assign([TopicPartition("kept", 0, 0)])
        message = consumer.poll(20)
        assert message is not None
        assert message.value() == b"before"
        consumer.close()
    finally:
        server.stop()
    assert sorted(file.name for file in folder.glob("*.properties")) == [
        "old.properties",
        "server.properties",
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_process_can_do_no_more_than_its_role_needs(own: LocalStack) -> None:
    everything = AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]
        ResourcePatternType.ANY,
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    admin = AdminClient(dict(own.client_options))
    found = admin.describe_acls(everything).result(30)
    processes = ("router", "executor", "projector")
    names = {f"User:local-{name}" for name in (*processes, "people")}
    assert {one.principal for one in found} == names
    executors = {one.name: one.operation for one in found if one.principal == "User:local-executor"}
    assert executors["steps.test"] is AclOperation.READ
    assert "steps.automation" not in executors


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_processes_log_in_as_their_own_users(own: LocalStack) -> None:
    # The last test here: without its rights the router can do nothing more.
    rights = AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]
        ResourcePatternType.ANY,
        "User:local-router",
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    log = own.client_properties.parent / "logs" / "router.log"
    assert NOT_ALLOWED not in log.read_text()
    admin = AdminClient(dict(own.client_options))
    for done in admin.delete_acls([rights]).values():
        assert done.result(30)
    deadline = time.monotonic() + 60
    while NOT_ALLOWED not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()[-2_000:]
        time.sleep(0.2)
