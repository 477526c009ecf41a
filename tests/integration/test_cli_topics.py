"""`runstream topics apply` and `show` on a real broker."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
)

from console import broker, endpoints
from console.cli import main
from console.exits import Exit
from console.topic_admin import inspect
from runtime.settings import CommonSettings
from streams.topics import all_topics
from tests.brokers import client_options, environment


@pytest.fixture
def prefix(kafka: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A cluster without topics of ours, for the commands of this test."""
    own = f"c{uuid.uuid4().hex[:10]}."
    monkeypatch.chdir(tmp_path)
    for name, value in environment(kafka).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RUNSTREAM_TOPIC_PREFIX", own)
    return own


def test_apply_creates_then_changes_nothing(
    prefix: str, kafka: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["topics", "show", "--json"]) == Exit.OK
    assert {row["exists"] for row in json.loads(capsys.readouterr().out)} == {False}

    assert main(["topics", "apply"]) == Exit.OK
    assert f"{len(all_topics())} created, 0 adjusted" in capsys.readouterr().err
    assert main(["topics", "apply"]) == Exit.OK
    assert "0 created, 0 adjusted" in capsys.readouterr().err

    assert main(["topics", "show", "--json"]) == Exit.OK
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in rows} == {prefix + topic.name for topic in all_topics()}
    assert all(row["exists"] and not row["differences"] for row in rows)
    assert all(row["partitions"] == row["actual_partitions"] for row in rows)
    assert main(["topics", "show"]) == Exit.OK
    assert f"{prefix}execution.events" in capsys.readouterr().out

    name = f"{prefix}execution.requests"
    admin = AdminClient(client_options(kafka))
    entry = ConfigEntry("retention.ms", "60000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)
    until = time.monotonic() + 60
    while not any(state.differences for state in inspect(endpoints.load(CommonSettings))):
        assert time.monotonic() < until, "the broker never showed the change"
    assert main(["topics", "apply"]) == Exit.OK
    said = capsys.readouterr().err
    assert f"adjusted {name}: retention.ms=604800000" in said
    assert "0 created, 1 adjusted" in said


def test_another_number_of_partitions_is_an_error_and_stays(
    prefix: str, kafka: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{prefix}execution.events"
    admin = AdminClient(client_options(kafka))
    for future in admin.create_topics([NewTopic(name, 3, 1)], operation_timeout=20).values():
        future.result(30)
    assert main(["topics", "apply"]) == Exit.FAILED
    assert f"{name} has 3 partitions, the registry says 8" in capsys.readouterr().err
    assert len(admin.list_topics(name, timeout=10).topics[name].partitions) == 3


def test_a_broker_that_is_away_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr(broker, "PROBE_SECONDS", 1.0)
    assert main(["topics", "show"]) == Exit.UNREACHABLE
    said = capsys.readouterr().err
    assert "no Kafka broker answers at 127.0.0.1:1 (KAFKA_BOOTSTRAP_SERVERS)" in said
    assert "runstream up" in said
