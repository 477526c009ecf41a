"""A Runstream of `prod`: the requester's word saves no approval."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from devstack.processes import ROUTER, executor
from devstack.stack import LocalStack
from tests.conftest import POLICY, SERVERS
from tests.harness import PATIENCE_SECONDS, Harness

PROCESSES = (
    ROUTER,
    executor("executor", ["asset"]),
)


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """A stack whose executor serves `prod`."""
    folder = Path(tmp_path_factory.mktemp("prod"))
    with pytest.MonkeyPatch.context() as environment:
        for name in SERVERS:
            if name in os.environ:
                environment.delenv(name)
        environment.setenv("RUNSTREAM_POLICY", str(POLICY))
        stack = LocalStack(folder / "stack", processes=PROCESSES, environment="prod")
        try:
            with stack:
                harness = Harness(stack, folder / "ledger")
                yield harness
                harness.close()
        finally:
            stack.remove()


def _submit(harness: Harness, tool: str, parameters: dict[str, Any], **plan: Any) -> str:
    """Send a plan of one step; returns its idempotency key."""
    key = uuid.uuid4().hex
    steps = [{"tool": tool, "parameters": parameters}]
    request = {"idempotency_key": key, "plan": {"steps": steps, **plan}}
    harness.produce(orjson.dumps(request))
    harness.flush()
    return key


def _events(harness: Harness, key: str, last: str) -> list[dict[str, Any]]:
    """The events of the execution up to the first of type `last`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        events = harness.log.events.get(harness.ids_of({key}).get(key, ""), [])
        if last in [event["type"] for event in events]:
            return events
        assert time.monotonic() < deadline, [event["type"] for event in events]
        harness.read()


def _names(harness: Harness) -> list[str]:
    key = _submit(harness, "asset_list", {}, environment="prod")
    ended = _events(harness, key, "execution.completed")
    [done] = [event for event in ended if event["type"] == "step.succeeded"]
    return [asset["hostname"] for asset in done["data"]["output"]["assets"]]


def test_leaving_the_environment_out_saves_no_approval(prod: Harness) -> None:
    made = _submit(prod, "asset_create", {"hostname": "web-01"}, environment="production")
    _events(prod, made, "execution.completed")
    delete = {"hostname": "web-01", "confirm": True}

    # Nobody is asked, since the plan says nothing of prod; and nothing is done.
    silent = _events(prod, _submit(prod, "asset_delete", delete), "execution.failed")
    kinds = [event["type"] for event in silent]
    assert "execution.approval_requested" not in kinds and "step.started" not in kinds
    [failed] = [event for event in silent if event["type"] == "step.failed"]
    assert failed["data"]["error"]["class"] == "environment"
    assert "environment is dev, and this executor serves prod" in failed["data"]["error"]["message"]
    assert "`environment: prod`" in failed["data"]["error"]["message"]
    assert "step.retry_scheduled" not in kinds
    assert _names(prod) == ["web-01"]

    # As the message says: with the right word it waits for its approval.
    key = _submit(prod, "asset_delete", delete, environment="prod")
    waiting = _events(prod, key, "execution.approval_requested")
    assert "step.dispatched" not in [event["type"] for event in waiting]
    execution_id = waiting[0]["execution_id"]
    plan_hash = waiting[-1]["data"]["plan_hash"]
    prod.control("approve", execution_id, plan_hash=plan_hash)
    _events(prod, key, "execution.completed")
    assert _names(prod) == []
