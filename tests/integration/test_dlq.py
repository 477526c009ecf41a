"""`runstream dlq` on a real broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from console.cli import main
from console.exits import Exit
from runtime.kafka.dead_letters import PREFIX
from streams.envelope import HOPS
from streams.topics import CONTROL, REQUESTS
from tests.brokers import environment
from tests.integration.sink_lab import Lab
from tests.unit.sinks.stories import execution_id

DLQ = f"{REQUESTS.name}.dlq"
STEPS_DLQ = "steps.test.dlq"


@pytest.fixture
def lab(
    kafka: str, postgres: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Lab]:
    laboratory = Lab(kafka, postgres)
    monkeypatch.chdir(tmp_path)
    for name, value in environment(kafka).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RUNSTREAM_TOPIC_PREFIX", laboratory.prefix)
    yield laboratory
    laboratory.close()


def post(lab: Lab, topic: str, value: bytes | None, error_class: str, **more: str) -> None:
    """Put a dead letter on a topic, in partition 1."""
    headers = [(f"{PREFIX}class", error_class.encode()), (f"{PREFIX}partition", b"1")]
    headers += [(name, text.encode()) for name, text in more.items()]
    lab.put(topic, value, key=b"k\xff", partition=1, headers=headers)
    assert lab.producer.flush(10) == 0


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_list_show_and_stats(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dlq", "list"]) == Exit.OK
    assert "no dead letters" in capsys.readouterr().err
    post(lab, DLQ, b"\xff\xfe", "not_json", **{f"{PREFIX}message": "the value is not JSON"})
    post(lab, DLQ, b"{}", "invalid")
    post(lab, STEPS_DLQ, None, "invalid")

    assert main(["dlq", "list", "--json"]) == Exit.OK
    rows = said(capsys)
    assert [row["class"] for row in rows[::-1]] == ["not_json", "invalid", "invalid"]
    assert main(["dlq", "list", REQUESTS.name, "--class", "not_json", "--jsonl"]) == Exit.OK
    (row,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (row["topic"], row["partition"], row["offset"]) == (lab.topic(DLQ), 1, 0)
    assert row["message"] == "the value is not JSON"
    assert main(["dlq", "list", "--limit", "1", "--json"]) == Exit.OK
    assert len(said(capsys)) == 1
    assert main(["dlq", "list"]) == Exit.OK
    assert "not_json" in capsys.readouterr().out

    assert main(["dlq", "show", DLQ, "1", "0", "--json"]) == Exit.OK
    letter = said(capsys)
    assert letter["value"] == {"hex": "fffe"}
    assert letter["headers"][f"{PREFIX}class"] == "not_json"
    assert main(["dlq", "show", DLQ, "1", "1"]) == Exit.OK
    assert "value (text" in capsys.readouterr().out
    assert main(["dlq", "show", DLQ, "1", "99"]) == Exit.FAILED
    assert main(["dlq", "show", "execution.progress", "0", "0"]) == Exit.USAGE

    assert main(["dlq", "stats", "--json"]) == Exit.OK
    assert said(capsys) == {
        "total": 3,
        "counts": [
            {"topic": lab.topic(DLQ), "class": "invalid", "letters": 1},
            {"topic": lab.topic(DLQ), "class": "not_json", "letters": 1},
            {"topic": lab.topic(STEPS_DLQ), "class": "invalid", "letters": 1},
        ],
    }


def test_redrive_sends_the_original_bytes_and_counts_hops(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    post(lab, DLQ, b"\xff one", "not_json", kept="yes")
    post(lab, DLQ, b"\xff two", "not_json", **{HOPS: "5"})
    assert main(["dlq", "redrive", DLQ, "1", "0", "--json"]) == Exit.OK
    assert len(said(capsys)["redriven"]) == 1
    (record,) = lab.records(REQUESTS.name)
    assert (record.key(), record.value(), record.partition()) == (b"k\xff", b"\xff one", 1)
    assert record.headers() == [("kept", b"yes"), (HOPS, b"1")]

    assert main(["dlq", "redrive", DLQ, "--all"]) == Exit.USAGE
    assert main(["dlq", "redrive", DLQ]) == Exit.USAGE
    capsys.readouterr()
    assert main(["dlq", "redrive", DLQ, "--all", "--yes", "--json"]) == Exit.FAILED
    outcome = said(capsys)
    assert [row["offset"] for row in outcome["redriven"]] == [0]
    assert [row["offset"] for row in outcome["refused"]] == [1]
    assert "came back 5 times" in outcome["refused"][0]["reason"]
    assert len(lab.records(REQUESTS.name)) == 2


def test_an_exhausted_step_is_rerun_instead(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    ident = execution_id(5)
    command = orjson.dumps({"execution_id": ident, "step": "disk", "attempt": 3})
    post(lab, STEPS_DLQ, command, "retries_exhausted")
    post(lab, STEPS_DLQ, b"nonsense", "retries_exhausted")
    arguments = ["--class", "retries_exhausted", "--yes", "--json", "--actor", "ann"]
    assert main(["dlq", "redrive", STEPS_DLQ, *arguments]) == Exit.FAILED
    outcome = said(capsys)
    assert len(outcome["redriven"]) == len(outcome["refused"]) == 1
    (record,) = lab.records(CONTROL.name)
    assert record.key() == ident[-8:].encode()
    control = orjson.loads(record.value() or b"")
    assert control["type"] == "redrive"
    assert (control["execution_id"], control["step"], control["actor"]) == (ident, "disk", "ann")


def test_drop_cuts_a_partition_and_says_what_goes(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        post(lab, DLQ, str(number).encode(), "invalid")
    assert main(["dlq", "drop", DLQ, "1", "2"]) == Exit.USAGE
    said_first = capsys.readouterr().err
    assert "3 dead letters (3 invalid)" in said_first and "--yes" in said_first
    assert main(["dlq", "drop", DLQ, "1", "2", "--yes", "--json"]) == Exit.OK
    assert said(capsys)["dropped"] == 3
    assert main(["dlq", "list", DLQ, "--json"]) == Exit.OK
    assert [row["offset"] for row in said(capsys)] == [3]
    assert main(["dlq", "show", DLQ, "1", "1"]) == Exit.FAILED


def test_a_broker_that_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("console.broker.PROBE_SECONDS", 1.0)
    assert main(["dlq", "list", "--json"]) == Exit.UNREACHABLE
    assert capsys.readouterr().out == ""
