"""What a person tells an execution by the API, and what the router makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.router_lab import Lab
from tests.unit.router.simulation import kinds

Json = dict[str, Any]
SLOW: Json = {"steps": [{"id": "one", "tool": "sleep", "parameters": {"seconds": 60}}]}
VERBS: dict[str, Json | None] = {
    "cancel": None, "approve": {"plan_hash": "0" * 64}, "reject": {}, "pause": None,
    "resume": {}, "rerun": None, "resolve": {"step": "one", "outcome": "failed"},
    "redrive": {"step": "one"},
}  # fmt: skip


@pytest.fixture
def lab() -> Lab:
    return Lab()


def submitted(lab: Lab, **plan: Any) -> str:
    answer = lab.post("/v1/executions", {**SLOW, **plan})
    ident: str = answer.json()["execution_id"]
    return ident


def test_what_runs_is_paused_resumed_and_cancelled(lab: Lab) -> None:
    ident = submitted(lab)
    lab.router.report("started", lab.router.take())
    for verb, follows in (
        ("pause", "execution.paused"),
        ("resume", "execution.resumed"),
        ("cancel", "execution.cancel_requested"),
    ):
        answer = lab.post(f"/v1/executions/{ident}/{verb}", {"reason": "test"})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["answer"], found["command"], found["execution_id"]) == (
            "followed",
            verb,
            ident,
        )
        assert found["event"]["type"] == follows and found["event"]["execution_id"] == ident
        audit = lab.router.decisions(ident)[-1]
        assert (audit["actor"], audit["key"], audit["via"]) == ("ann", "k-ann", "api-key")
    late = lab.post(f"/v1/executions/{ident}/pause")
    assert (late.status_code, late.json()["type"]) == (409, "urn:runstream:problem:refused")


def test_an_approval_is_of_somebody_else_and_of_what_was_read(lab: Lab) -> None:
    ident = submitted(lab, approval_level=1)
    path = f"/v1/executions/{ident}/approve"
    (asked,) = (one for one in lab.router.events if one["type"] == "execution.approval_requested")
    right = {"plan_hash": asked["data"]["plan_hash"]}
    assert lab.post(path, right).status_code == 409
    assert lab.post(path, {"plan_hash": "0" * 64}, by="k-bob").status_code == 409
    assert lab.post(path, {}, by="k-bob").status_code == 422
    assert lab.post(path, by="k-bob").status_code == 422
    good = lab.post(path, right, by="k-bob")
    assert (good.status_code, good.json()["event"]["type"]) == (200, "execution.approved")
    assert good.json()["event"]["data"]["actor"] == "bob"


def test_a_rejection_ends_it(lab: Lab) -> None:
    ident = submitted(lab, approval_level=1)
    answer = lab.post(f"/v1/executions/{ident}/reject", {"reason": "not today"}, by="k-bob")
    assert (answer.status_code, answer.json()["event"]["type"]) == (200, "execution.rejected")


def test_a_rerun_is_a_new_execution(lab: Lab) -> None:
    ident = submitted(lab)
    lab.router.fail(lab.router.take())
    for verb, body in (("rerun", {"from_step": "one"}), ("redrive", {"step": "one"})):
        answer = lab.post(f"/v1/executions/{ident}/{verb}", body)
        assert answer.status_code == 200, answer.text
        fresh = answer.json()["execution_id"]
        assert fresh != ident and answer.headers["location"] == f"/v1/executions/{fresh}"
        assert answer.json()["event"] is None
        accepted = next(one for one in lab.router.events if one["execution_id"] == fresh)
        assert accepted["data"]["rerun_of"] == ident and accepted["data"]["via"] == "api-key"
    assert lab.post(f"/v1/executions/{ident}/rerun", {"from_step": "two"}).status_code == 409


def test_a_lost_step_is_resolved(lab: Lab) -> None:
    ident = submitted(lab, steps=[{"id": "one", "tool": "argv", "parameters": {"argv": ["true"]}}])
    lab.router.report("started", lab.router.take())
    lab.router.wait(70)
    assert "step.needs_attention" in kinds(lab.router.events)
    path = f"/v1/executions/{ident}/resolve"
    assert lab.post(path, {"step": "two", "outcome": "failed"}).status_code == 409
    assert lab.post(path, {"step": "one", "outcome": "maybe"}).status_code == 422
    body = {"step": "one", "outcome": "succeeded", "output": {"kept": None}}
    answer = lab.post(path, body)
    assert answer.status_code == 200, answer.text
    succeeded = [one for one in lab.router.events if one["type"] == "step.succeeded"]
    assert succeeded[-1]["data"]["output"] == {"kept": None}


@pytest.mark.parametrize(("verb", "body"), VERBS.items())
def test_another_tenant_learns_nothing_and_leaves_no_trace(
    lab: Lab, verb: str, body: Json | None
) -> None:
    ident = submitted(lab)
    before = len(lab.router.events)
    theirs = lab.post(f"/v1/executions/{ident}/{verb}", body, by="k-eve")
    nothing = lab.post(f"/v1/executions/{'0' * 36}/{verb}", body, by="k-eve")
    assert (theirs.status_code, nothing.status_code) == (404, 404)
    assert theirs.json()["detail"] == nothing.json()["detail"]
    assert len(lab.sent) == 1 and len(lab.router.events) == before


def test_what_the_policy_does_not_allow_is_403_and_what_may_not_be_seen_404() -> None:
    rules = (
        "{id: runs, effect: allow, actors: [ann], actions: ['*']}",
        "{id: looks, effect: allow, actors: [ann], controls: [read]}",
        "{id: cancels, effect: allow, actors: [bob], controls: [cancel]}",
    )
    lab = Lab("version: 1\nrules:\n" + "".join(f"  - {rule}\n" for rule in rules))
    ident = submitted(lab)
    denied = lab.post(f"/v1/executions/{ident}/cancel")
    assert (denied.status_code, denied.json()["type"]) == (403, "urn:runstream:problem:forbidden")
    assert lab.router.decisions(ident)[-1]["allowed"] is False
    # He may not read it, and may end it; what he may neither read nor do is not there for him.
    assert lab.post(f"/v1/executions/{ident}/pause", by="k-bob").status_code == 404
    assert lab.post(f"/v1/executions/{ident}/cancel", by="k-bob").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"reason": "x" * 1_001},
        {"x": 1},
        [],
        "x",
        {"reason": 1},
        {"x" * 100_000: 1},
        b'{"\\ud800": 1}',
        b'{"reason": "\\ud800"}',
        b"{",
        b"\xff",
        b'{"reason": NaN}',
    ],
)
def test_a_wrong_body_is_refused(lab: Lab, body: Any) -> None:
    ident = submitted(lab)
    headers = {"Content-Type": "application/json"}
    answer = lab.post(f"/v1/executions/{ident}/cancel", body, headers=headers)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.text) < 3_000
    assert len(lab.sent) == 1


def test_without_an_answer_it_is_sent() -> None:
    lab = Lab(answers=False)
    ident = submitted(lab)
    for params in ({"wait": 0}, {"wait": 0.01}):
        answer = lab.post(f"/v1/executions/{ident}/pause", params=params)
        assert (answer.status_code, answer.json()["answer"]) == (202, "sent")
