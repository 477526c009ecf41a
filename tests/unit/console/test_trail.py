"""The trail says who asked, who approved, what ran where with which secrets, and what changed."""

from __future__ import annotations

from typing import Any

import orjson

from console.trail import trail
from tests.unit.router.simulation import Simulation
from toolmeta import scripts

PLAN: dict[str, Any] = {
    "name": "notify",
    "approval_level": 2,
    "steps": [
        {
            "id": "tell",
            "tool": "noop",
            "parameters": {"value": {"token": {"type": "secret", "path": "env/TOKEN"}}},
        },
    ],
}


def test_everything_of_an_execution_is_in_its_events() -> None:
    router = Simulation()
    request = {"tenant": "acme", "actor": "ann", "idempotency_key": "k", "plan": PLAN}
    ident = router.submit(request)[0]["execution_id"]
    router.control("approve", ident, actor="ann")
    router.control("approve", ident, actor="bob", reason="looked at it")
    router.control("approve", ident, actor="eve")
    command = router.take()
    router.run(command, {"changed": True})
    found = trail(ident, [orjson.loads(orjson.dumps(event)) for event in router.events])
    assert found.tenant == "acme"
    assert found.asked is not None and found.ended is not None
    assert found.asked.facts["actor"] == "ann"
    assert [(one.what, one.facts.get("actor")) for one in found.approvals] == [
        ("requested", None), ("given", "bob"), ("approved", "eve"),
    ]  # fmt: skip
    assert found.approvals[1].facts["reason"] == "looked at it"
    assert [(one.what, one.facts["actor"]) for one in found.decisions[:2]] == [
        ("allowed", "ann"), ("refused", "ann"),
    ]  # fmt: skip
    (attempt,) = found.attempts
    assert (attempt.step, attempt.attempt, attempt.tool) == ("tell", 1, "noop")
    assert attempt.parameters == command["parameters"]
    assert attempt.secrets == {"/value/token": "env/TOKEN"}
    assert (attempt.executor, attempt.status, attempt.changed) == ("agent-1", "succeeded", True)
    assert found.ended.what == "completed"
    assert found.chain == router.events[-1]["chain"]


def test_an_attempt_on_assets_says_with_which_fencing_tokens_it_ran() -> None:
    router = Simulation()
    step = {"id": "one", "tool": "argv", "parameters": {"argv": ["true"]}}
    plan = {"steps": [{**step, "assets": ["web-01", "db-01"]}]}
    ident = router.submit({"actor": "ann", "plan": plan})[0]["execution_id"]
    router.run(router.take())
    (acquired,) = [event for event in router.events if event["type"] == "lock.acquired"]
    (attempt,) = trail(ident, router.events).attempts
    assert attempt.more["fencing_tokens"] == acquired["data"]["tokens"]
    assert attempt.more["fencing_tokens"].keys() == {"web-01", "db-01"}


def test_a_script_is_named_by_the_hash_that_its_executor_reported() -> None:
    router = Simulation()
    plan = {"steps": [{"id": "one", "tool": "script", "parameters": {"script": "id"}}]}
    ident = router.submit({"actor": "ann", "plan": plan})[0]["execution_id"]
    named = scripts.digest("sh", "id")
    router.run(router.take(), {"exit_code": 0, "stderr": [], "script_sha256": named})
    (attempt,) = trail(
        ident, [orjson.loads(orjson.dumps(event)) for event in router.events]
    ).attempts
    assert attempt.script_sha256 == named
