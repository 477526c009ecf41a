"""The API's paths over a running stack: rows, topics and groups that really run plans made."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

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


def test_what_ran_is_read(ann: Api, harness: Harness) -> None:
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
