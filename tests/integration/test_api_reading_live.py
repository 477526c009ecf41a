"""The API's paths over a running stack: rows, topics and groups that really run plans made."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.topics import PROCEDURES, SCHEDULE_COMMANDS, TRIGGER_COMMANDS
from tests.brokers import kafka_options, remember
from tests.harness import Harness
from tests.integration.api_lab import Api, api

#: Longer than a start of a program, a claim and a sink on a busy machine.
PATIENCE = 90.0


@pytest.fixture
def ann(harness: Harness) -> Iterator[Api]:
    servers = remember(harness.stack.client_options)
    with api(
        harness.stack.database_url,
        bootstrap_servers=servers,
        kafka_options=kafka_options(servers),
        test_tools=True,
    ) as made:
        yield made.as_("ann")


def until(ask: Callable[[], Any], what: str) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + PATIENCE
    while not (found := ask()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


def shell(script: str) -> dict[str, Any]:
    """A step that runs a script."""
    return {"id": "run", "tool": "argv", "parameters": {"argv": ["sh", "-c", script]}}


def test_what_ran_is_read(ann: Api, harness: Harness, tmp_path: Path) -> None:
    word = f"word{uuid.uuid4().hex[:8]}"
    name = f"reading <i>{word}</i>"
    keys = harness.submit(
        1, [shell("seq 1 20000; echo wrong >&2"), {"id": "end", "tool": "noop"}], name=name
    )
    ident = harness.wait_ended(keys)[next(iter(keys))]
    query = {"text": word, "since": "1h"}
    row = until(
        lambda: ann.get("/executions", status="completed", **query)["executions"], "no row"
    )[0]
    assert (row["execution_id"], row["name"], row["percent"]) == (ident, name, 100)
    assert row["step_counts"] == {"succeeded": 2}
    assert ann.get("/executions/counts", **query)["counts"] == {"completed": 1}
    written = "".join(f"{n}\n" for n in range(1, 20_001)).encode()
    path = f"/executions/{ident}/steps/run"
    until(lambda: len(ann.response(f"{path}/output").content) == len(written), "no output")
    part = ann.response(f"{path}/output", {"Range": "bytes=70000-70099"})
    assert (part.status_code, part.content) == (206, written[70_000:70_100])
    assert ann.get(f"{path}/output/text", stream="stderr")["text"] == "wrong\n"
    step = ann.get(path)
    assert step["output_data"]["exit_code"] == 0
    assert [one["stream"] for one in step["streams"]] == ["stdout", "stderr"]
    assert step["attempts"][0]["executor"] == "executor-test"
    events = ann.get(f"/executions/{ident}/events")
    assert [one["seq"] for one in events["events"]] == [*range(1, events["last_seq"] + 1)]
    assert events["events"][-1]["type"] == "execution.completed"
    told = harness.log.events[ident]
    assert [one["data"] for one in events["events"]] == [one["data"] for one in told]
    plan = ann.get(f"/executions/{ident}/plan")
    assert [one["id"] for one in plan["plan"]["steps"]] == ["run", "end"]
    progress = until(
        lambda: (found := ann.get(f"/executions/{ident}/progress"))["source"] == "topic" and found,
        "the projector's snapshot was not found",
    )["progress"]
    assert (progress["percent"], progress["seq"]) == (100, events["last_seq"])
    figures = ann.get("/statistics", since="1h")
    assert "argv" in {one["name"] for one in figures["tools"]}


def test_what_waits_is_read(ann: Api, harness: Harness, tmp_path: Path) -> None:
    gate, asset = tmp_path / "gate", f"web-{uuid.uuid4().hex[:8]}"
    held = shell(f"while [ ! -e {gate} ]; do sleep 0.1; done") | {"assets": [asset]}
    first = harness.submit(1, [held], name="holds")

    def party(kind: str) -> Any:
        found = [one for one in ann.get("/locks")["locks"] if one["asset"] == asset]
        return found and found[0][kind]

    try:
        holder = until(lambda: party("holder"), "nobody holds the asset")
        assert (holder["name"], holder["step"]) == ("holds", "run")
        second = harness.submit(1, [{"id": "c", "tool": "change", "assets": [asset]}], name="waits")
        waiting = until(lambda: party("waiting"), "nobody waits")[0]
        assert waiting["name"] == "waits"
        detail = until(
            lambda: (d := ann.get(f"/executions/{waiting['execution_id']}"))["waits"] and d,
            "the wait is not shown",
        )
        assert asset in detail["waits"][-1]["reason"]
        hidden = ann.as_("nobody").get("/locks")
        assert {one["holder"]["execution_id"] for one in hidden["locks"] if one["holder"]} == {None}
        mine = ann.get("/executors")
        agent = next(one for one in mine["executors"] if one["instance"] == "executor-test")
        assert agent["alive"] and agent["domains"] == ["test"] and agent["running"] >= 1
        assert mine["broker_problem"] is None
        queue = next(q for q in mine["queues"] if (q["domain"], q["lane"]) == ("test", "bulk"))
        assert (queue["executors"], queue["problem"]) == (1, None) and queue["lag"] is not None
    finally:
        gate.touch()
    harness.wait_ended(first | second)

    key = harness.submit(
        1, [{"id": "c", "tool": "change", "parameters": {"host": asset}}], environment="prod"
    )
    harness.read()

    def asked() -> Any:
        ids = harness.ids_of(key)
        harness.read()
        return ids and ann.response(f"/approvals/{ids[next(iter(key))]}").is_success and ids

    ident = until(asked, "no approval is asked for")[next(iter(key))]
    approval = ann.get(f"/approvals/{ident}")
    assert approval["effects"] == {"read": 0, "modify": 1, "destroy": 0}
    assert approval["hosts"][0] | {"host": asset, "modify": 1} == approval["hosts"][0]
    assert (approval["may_approve"], approval["why_not"]) == (True, None)
    assert len(approval["approval"]["plan_hash"]) == 64
    listed = [
        one["execution"]["execution_id"] for one in ann.get("/approvals", limit=100)["approvals"]
    ]
    assert ident in listed
    assert not ann.as_("nobody").get("/approvals")["approvals"]
    harness.control("reject", ident, reason="a test")
    until(lambda: ann.get(f"/approvals/{ident}")["approval"]["state"] == "rejected", "not rejected")
    assert ann.get(f"/approvals/{ident}")["approval"]["decisions"][0]["approved"] is False


def test_topics_and_the_parts_are_read(ann: Api, harness: Harness) -> None:
    name = f"p{uuid.uuid4().hex[:8]}"
    plan = {
        "name": "list", "version": "2", "environment": "dev",
        "inputs": {"path": {"pattern": "/.*"}, "n": {"type": "integer", "default": 3}},
        "steps": [{"tool": "ls", "parameters": {"path": "{{ inputs.path }}"}}],
    }  # fmt: skip
    record = {"tenant": "default", "name": name, "version": "2", "actor": "ann", "plan": plan}
    given = {"tenant": "default", "name": name, "type": "apply"}
    schedule = {"name": name, "procedure": name, "cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    trigger = {"name": name, "procedure": name, "topic": "no.such.topic"}
    key = f"default/{name}".encode()
    assert name not in {one["name"] for one in ann.get("/procedures")["procedures"]}
    harness.produce(orjson.dumps(record), key, PROCEDURES.name)
    harness.produce(orjson.dumps({**given, "schedule": schedule}), key, SCHEDULE_COMMANDS.name)
    harness.produce(orjson.dumps({**given, "trigger": trigger}), key, TRIGGER_COMMANDS.name)
    harness.produce(b"{no json")
    harness.flush()
    found = until(
        lambda: (r := ann.response(f"/procedures/{name}")).is_success and r.json(), "no procedure"
    )
    assert (found["version"], found["required_inputs"], found["signed"]) == ("2", ["path"], False)
    assert found["input_schema"]["properties"]["path"]["pattern"] == "^(?:/.*)$"
    stranger = ann.as_("ann", tenant="other")
    assert stranger.response(f"/procedures/{name}").status_code == 404
    shown = until(
        lambda: (r := ann.response(f"/schedules/{name}", moments=3)).is_success and r.json(),
        "no schedule",
    )
    assert (shown["status"], len(shown["next"])) == ("waiting", 3)
    assert stranger.get("/schedules")["schedules"] == []
    applied = until(
        lambda: (r := ann.response(f"/triggers/{name}")).is_success and r.json(), "no trigger"
    )
    assert applied["status"] == "topic missing"
    letters = until(
        lambda: [
            one
            for one in ann.get("/dead-letters", topic="execution.requests", since="1h")["letters"]
            if one["value_bytes"] == 8
        ],
        "no dead letter",
    )
    place = "/dead-letters/{topic}/{partition}/{offset}".format(**letters[0])
    assert ann.get(place)["value"]["text"] == "{no json"
    assert stranger.response(place).status_code == 404
    needed = {"kafka", "postgres", "sink", "projector", "executors/test", "executors/network"}

    def parts() -> set[str]:
        components = ann.get("/health")["components"]
        return {one["name"] for one in components if one["status"] == "healthy"}

    until(lambda: needed <= parts(), "a part of a healthy stack is not")
    # What is no procedure any more is not remembered for longer than it may be.
    harness.produce(b"", key, PROCEDURES.name)
    harness.flush()
    until(lambda: ann.response(f"/procedures/{name}").status_code == 404, "still there")
