"""The API over a real stack: what it sends is run, with the rights of whoever showed a token."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from authority.key_files import read_private
from authority.keys import KeyUse, PrivateKey
from authority.tokens import sign
from tests.api_kit import ApiServer, Person
from tests.harness import PATIENCE_SECONDS, Harness

Json = dict[str, Any]
NOOP: Json = {"steps": [{"id": "one", "tool": "noop"}]}
SLOW: Json = {"steps": [{"id": "one", "tool": "sleep", "parameters": {"seconds": 60}}]}
FAILS: Json = {"steps": [{"id": "one", "tool": "fail"}]}
GUARDED: Json = {"approval_level": 1, **NOOP}
VERBS = ("cancel", "approve", "reject", "pause", "resume", "rerun", "resolve", "redrive")
BODIES: dict[str, Json] = {
    "approve": {"plan_hash": "0" * 64},
    "resolve": {"step": "one", "outcome": "failed"},
    "redrive": {"step": "one"},
}


@pytest.fixture(scope="module")
def ann(api: ApiServer) -> Person:
    return api.person("ann")


@pytest.fixture
def client(api: ApiServer, ann: Person) -> Iterator[httpx.Client]:
    with api.client(ann.token()) as found:
        yield found


def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def submit(client: httpx.Client, plan: Json, **params: Any) -> httpx.Response:
    return client.post("/v1/executions", json={"plan": plan}, headers=key(), params=params)


def event(harness: Harness, ident: str, kind: str) -> Json:
    """The first event of this type of an execution, as it stands on the topic."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        for found in harness.log.events[ident]:
            if found["type"] == kind:
                return found
        assert time.monotonic() < deadline, (ident, kind, harness.log.events[ident])
        harness.read()


def test_a_plan_is_run_with_the_rights_of_the_token_and_says_how_it_came(
    client: httpx.Client, ann: Person, harness: Harness
) -> None:
    answer = submit(client, NOOP)
    assert answer.status_code == 201, answer.text
    ident = answer.json()["execution_id"]
    assert answer.headers["location"] == f"/v1/executions/{ident}"
    accepted = event(harness, ident, "execution.accepted")["data"]
    assert (accepted["actor"], accepted["key"]) == ("ann", ann.key.kid)
    assert accepted["via"] == read_private(harness.stack.keys.private("api")).kid
    event(harness, ident, "execution.completed")


def test_the_same_key_runs_once_and_another_plan_with_it_is_a_conflict(
    client: httpx.Client, harness: Harness
) -> None:
    headers = key()
    first = client.post("/v1/executions", json=NOOP, headers=headers)
    again = client.post("/v1/executions", json=NOOP, headers=headers)
    other = client.post("/v1/executions", json=SLOW, headers=headers)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert again.json()["execution_id"] == first.json()["execution_id"]
    assert again.json()["answer"] == "duplicate"
    assert other.json()["type"] == "urn:runstream:problem:conflict"
    assert first.json()["execution_id"] in other.json()["detail"]


def test_what_is_wrong_with_a_plan_is_said_field_by_field(client: httpx.Client) -> None:
    plan = {"steps": [{"tool": "no_such_tool"}, {"tool": "sleep", "parameters": {"seconds": "x"}}]}
    answer = submit(client, plan)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:runstream:problem:invalid_plan"
    assert [one["field"] for one in problem["errors"]] == [
        "plan.steps[0].tool", "plan.steps[1].parameters.seconds",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422), (b"[]", 422), (b"{", 422), (b'{"steps": [{"tool": NaN}]}', 422),
        (b'{"steps": [{"tool": "\\ud800"}]}', 422), (b"[" * 100_000, 422),
        (b'{"steps": [], "x": "' + b"y" * 600_000 + b'"}', 413),
        (b'{"tenant": "other", "steps": [{"tool": "noop"}]}', 403),
        (b'{"actor": "bob", "steps": [{"tool": "noop"}]}', 403),
        (b'{"on_behalf_of": {"key": "x"}, "steps": [{"tool": "noop"}]}', 422),
        (b'{"started_by": {"kind": "schedule"}, "steps": [{"tool": "noop"}]}', 422),
        (b'{"explain": true, "steps": [{"tool": "noop"}]}', 422),
        (b'{"execution_id": "x", "steps": [{"tool": "noop"}]}', 422),
        (b'{"idempotency_key": "", "steps": [{"tool": "noop"}]}', 422),
        (b'{"idempotency_key": "\\ud800", "steps": [{"tool": "noop"}]}', 422),
        (b'{"procedure": "no-such-procedure"}', 422),
        (b'{"steps": [{"tool": "noop", "timeout_seconds": 1e999}]}', 422),
        (b'{"steps": [{"tool": "noop", "timeout_seconds": 99999999999999999999999}]}', 422),
    ],
)  # fmt: skip
def test_a_wrong_body_is_one_problem_and_runs_nothing(
    client: httpx.Client, body: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/executions", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert 0 < len(answer.json()["detail"]) < 1_000


def test_who_does_not_wait_gets_an_id_and_the_plan_runs(
    client: httpx.Client, harness: Harness
) -> None:
    answer = submit(client, NOOP, wait=0)
    assert (answer.status_code, answer.json()["answer"]) == (202, "sent")
    event(harness, answer.json()["execution_id"], "execution.completed")


def test_what_if_tells_and_runs_nothing(client: httpx.Client, harness: Harness) -> None:
    found = client.post("/v1/explain", json=GUARDED).json()
    assert (found["answer"], found["actor"], found["approval_level"]) == ("accepted", "ann", 1)
    assert [one["tool"] for one in found["calls"]] == ["noop"]
    refused = client.post("/v1/explain", json={"steps": [{"tool": "no_such_tool"}]}).json()
    assert (refused["answer"], refused["problems"][0]["field"]) == (
        "rejected",
        "plan.steps[0].tool",
    )


def test_an_approval_takes_two_people_and_the_hash_that_was_read(
    api: ApiServer, client: httpx.Client, harness: Harness
) -> None:
    ident = submit(client, GUARDED).json()["execution_id"]
    plan_hash = event(harness, ident, "execution.approval_requested")["data"]["plan_hash"]
    path = f"/v1/executions/{ident}/approve"
    mine = client.post(path, json={"plan_hash": plan_hash})
    assert (mine.status_code, mine.json()["type"]) == (409, "urn:runstream:problem:refused")
    bob = api.person("bob")
    with api.client(bob.token()) as other:
        wrong = other.post(path, json={"plan_hash": "0" * 64})
        assert wrong.status_code == 409 and "hash" in wrong.json()["detail"]
        assert other.post(path, json={}).status_code == 422
        good = other.post(path, json={"plan_hash": plan_hash, "reason": "read it"})
        assert (good.status_code, good.json()["answer"]) == (200, "followed"), good.text
        again = other.post(path, json={"plan_hash": plan_hash})
        assert again.status_code == 409
    event(harness, ident, "execution.completed")
    given = event(harness, ident, "execution.approved")["data"]
    assert (given["actor"], given["reason"]) == ("bob", "read it")


def test_an_execution_is_paused_resumed_cancelled_and_run_again(
    client: httpx.Client, harness: Harness
) -> None:
    ident = submit(client, SLOW).json()["execution_id"]
    event(harness, ident, "step.started")
    path = f"/v1/executions/{ident}"
    for verb in ("pause", "resume", "cancel"):
        answer = client.post(f"{path}/{verb}", json={"reason": "test"})
        assert (answer.status_code, answer.json()["answer"]) == (200, "followed"), answer.text
    assert client.post(f"{path}/pause").status_code == 409
    event(harness, ident, "execution.cancelled")
    late = client.post(f"{path}/cancel")
    assert late.status_code == 409 and "ended as cancelled" in late.json()["detail"]
    rerun = client.post(f"{path}/rerun")
    assert rerun.status_code == 200, rerun.text
    fresh = rerun.json()["execution_id"]
    assert fresh != ident and rerun.headers["location"] == f"/v1/executions/{fresh}"
    assert event(harness, fresh, "execution.accepted")["data"]["rerun_of"] == ident
    client.post(f"/v1/executions/{fresh}/cancel")


def test_another_tenant_sees_no_execution_and_leaves_no_trace_in_it(
    api: ApiServer, client: httpx.Client, harness: Harness
) -> None:
    ident = submit(client, GUARDED).json()["execution_id"]
    event(harness, ident, "execution.approval_requested")
    with api.client(api.person("eve", "other").token()) as eve:
        for verb in VERBS:
            answer = eve.post(f"/v1/executions/{ident}/{verb}", json=BODIES.get(verb, {}))
            unknown = eve.post(
                f"/v1/executions/{ident[:-9]}0{ident[-8:]}/{verb}", json=BODIES.get(verb, {})
            )
            assert (answer.status_code, unknown.status_code) == (404, 404), verb
            # The same words for what is not there and for what is somebody else's.
            assert answer.json()["detail"] == unknown.json()["detail"]
    assert client.post(f"/v1/executions/{ident}/cancel").status_code == 200
    event(harness, ident, "execution.cancelled")
    decided = [one for one in harness.log.events[ident] if one["type"] == "audit.decision"]
    assert {one["data"]["actor"] for one in decided} == {"ann"}


def test_a_token_for_reading_changes_nothing(api: ApiServer, ann: Person) -> None:
    with api.client(ann.token(read_only=True)) as reader:
        answer = submit(reader, NOOP)
    assert answer.status_code == 403 and "reading only" in answer.json()["detail"]


def test_a_revoked_key_ends_its_tokens_within_two_seconds(api: ApiServer) -> None:
    leaver = api.person("leaver")
    with api.client(leaver.token()) as client:
        assert submit(client, NOOP).status_code == 201
        leaver.revoke()
        revoked_at = time.monotonic()
        while submit(client, NOOP, wait=0).status_code != 401:
            assert time.monotonic() - revoked_at < 2.5
        assert submit(client, NOOP).status_code == 401


def test_a_signature_of_a_record_is_no_token_and_a_token_signs_no_record(
    api: ApiServer, ann: Person, harness: Harness
) -> None:
    signature = sign(ann.key, "execution.requests", "runstream", b"x", time.time()).decode()
    with api.client(signature) as client:
        assert submit(client, NOOP).status_code == 401
    stranger = PrivateKey.generate(KeyUse(role="actor", actor="ann"))
    unknown = Person.__new__(Person)
    unknown.key = stranger
    with api.client(unknown.token()) as client:
        assert submit(client, NOOP).status_code == 401
