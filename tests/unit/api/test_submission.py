"""What becomes of a request: each answer of the router has one of HTTP."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.unit.api.router_lab import Lab

Json = dict[str, Any]
NOOP: Json = {"steps": [{"id": "one", "tool": "noop"}]}
KEY = {"Idempotency-Key": "k"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.mark.parametrize("body", [NOOP, {"plan": NOOP}, {"plan": NOOP, "tenant": "default"}])
def test_it_is_accepted_for_the_caller_under_an_id_that_is_told(lab: Lab, body: Json) -> None:
    answer = lab.post("/v1/executions", body, headers=KEY)
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert (found["answer"], found["idempotency_key"]) == ("accepted", "k")
    assert answer.headers["location"] == f"/v1/executions/{found['execution_id']}"
    accepted = lab.router.events[0]
    assert accepted["execution_id"] == found["execution_id"]
    assert (accepted["data"]["actor"], accepted["data"]["key"]) == ("ann", "k-ann")
    assert accepted["data"]["via"] == "api-key"


def test_the_same_is_answered_by_the_first_and_something_else_is_a_conflict(lab: Lab) -> None:
    first = lab.post("/v1/executions", NOOP, headers=KEY).json()["execution_id"]
    again = lab.post("/v1/executions", NOOP, headers={"Idempotency-Key": '"k"'})
    assert (again.status_code, again.json()["answer"]) == (200, "duplicate")
    assert again.json()["execution_id"] == first
    other = lab.post("/v1/executions", {"steps": [{"tool": "sleep"}]}, headers=KEY)
    # Invalid before it is another plan; with valid parameters it is a conflict.
    assert other.status_code in (409, 422)
    plan = {"steps": [{"tool": "noop"}, {"tool": "noop"}]}
    other = lab.post("/v1/executions", plan, headers=KEY)
    assert (other.status_code, other.json()["type"]) == (409, "urn:runstream:problem:conflict")
    assert first in other.json()["detail"]


def test_every_problem_of_a_plan_is_a_field(lab: Lab) -> None:
    answer = lab.post("/v1/executions", {"steps": [{"tool": "nothing"}, {"tool": "noop", "x": 1}]})
    assert (answer.status_code, answer.json()["type"]) == (
        422,
        "urn:runstream:problem:invalid_plan",
    )
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == "plan.steps[0].tool"
    assert answer.json()["execution_id"] == lab.router.events[-1]["execution_id"]


def test_what_the_policy_does_not_allow_is_403() -> None:
    rules = "{id: looks, effect: allow, actors: [ann], controls: [read]}"
    lab = Lab(f"version: 1\nrules:\n  - {rules}\n")
    answer = lab.post("/v1/executions", NOOP)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:runstream:problem:forbidden")
    assert lab.router.commands == []


def test_without_an_answer_it_is_sent() -> None:
    lab = Lab(answers=False)
    for params in ({"wait": 0}, {"wait": 0.01}):
        answer = lab.post("/v1/executions", NOOP, params=params)
        assert (answer.status_code, answer.json()["answer"]) == (202, "sent")
        assert answer.json()["execution_id"] in answer.headers["location"]
    assert lab.post("/v1/explain", NOOP, params={"wait": 0.01}).status_code == 503


@pytest.mark.parametrize("wait", ["-1", "31", "nan", "inf", "x"])
def test_nobody_waits_for_ever(lab: Lab, wait: str) -> None:
    answer = lab.post("/v1/executions", NOOP, params={"wait": wait})
    assert (answer.status_code, lab.sent) == (422, [])


def test_what_if_is_told_and_nothing_is_run(lab: Lab) -> None:
    found = lab.post("/v1/explain", {"approval_level": 2, **NOOP})
    assert found.status_code == 200, found.text
    told = found.json()
    assert (told["answer"], told["actor"], told["approval_level"]) == ("accepted", "ann", 2)
    assert [one["tool"] for one in told["calls"]] == ["noop"]
    told = lab.post("/v1/explain", {"steps": [{"tool": "nothing"}]}).json()
    assert (told["answer"], told["problems"][0]["field"]) == ("rejected", "plan.steps[0].tool")
    assert lab.router.commands == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422), (b"[]", 422), (b"{", 422), (b"\xff", 422), (b"[" * 100_000, 422),
        (b'{"steps": [{"tool": NaN}]}', 422), (b'{"steps": [{"tool": "\\ud800"}]}', 422),
        (b'{"x": ' + b'{"x": ' * 5_000 + b"1" + b"}" * 5_001, 422),
        (b'{"steps": [], "x": "' + b"y" * 600_000 + b'"}', 413),
        (b'{"tenant": "other", "steps": [{"tool": "noop"}]}', 403),
        (b'{"tenant": 1, "steps": [{"tool": "noop"}]}', 403),
        (b'{"actor": "bob", "steps": [{"tool": "noop"}]}', 403),
        (b'{"actor": ["ann"], "steps": [{"tool": "noop"}]}', 403),
        (b'{"on_behalf_of": {"key": "k-bob"}, "steps": [{"tool": "noop"}]}', 422),
        (b'{"started_by": {"kind": "schedule"}, "steps": [{"tool": "noop"}]}', 422),
        (b'{"explain": true, "steps": [{"tool": "noop"}]}', 422),
        (b'{"execution_id": "x", "steps": [{"tool": "noop"}]}', 422),
        (b'{"idempotency_key": "", "steps": [{"tool": "noop"}]}', 422),
        (b'{"idempotency_key": "\\ud800", "steps": [{"tool": "noop"}]}', 422),
    ],
)  # fmt: skip
def test_a_wrong_body_is_one_problem_and_nothing_is_sent(
    lab: Lab, body: bytes, status: int
) -> None:
    for path in ("/v1/executions", "/v1/explain"):
        if path == "/v1/explain" and b"explain" in body:
            continue
        answer = lab.post(path, body, headers=JSON)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert 0 < len(answer.json()["detail"]) < 500
    assert lab.sent == []


@pytest.mark.parametrize("key", ["", " ", "x" * 257, "\x7f", "\t"])
def test_a_wrong_key_is_refused(lab: Lab, key: str) -> None:
    answer = lab.post("/v1/executions", NOOP, headers={"Idempotency-Key": key})
    assert (answer.status_code, lab.sent) == (422, [])


def test_one_key_is_given_once(lab: Lab) -> None:
    body = {"idempotency_key": "other", **NOOP}
    assert lab.post("/v1/executions", body, headers=KEY).status_code == 422
    assert lab.post("/v1/executions", body).json()["idempotency_key"] == "other"


def test_a_request_that_is_no_json_says_so(lab: Lab) -> None:
    headers = {"Content-Type": "text/plain"}
    assert lab.post("/v1/executions", orjson.dumps(NOOP), headers=headers).status_code == 415


def test_a_trace_of_the_caller_goes_on_and_nothing_else_does(lab: Lab) -> None:
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for shown, kept in ((given, given.encode()), ("00-x", None), ("\xff\xfe", None)):
        lab.post("/v1/executions", NOOP, headers={"traceparent": shown.encode("latin-1")})
        assert lab.sent[-1].traceparent == kept
