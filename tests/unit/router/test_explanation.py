"""What-if: what is told of a request is what becomes of it."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.router.simulation import Simulation, kinds

POLICY = """
version: 1
rules:
  - {id: web, effect: allow, actors: [ann], actions: [read, write], assets: ["web-*", localhost]}
  - {id: secrets, effect: allow, actors: [ann], secrets: ["env/MAIL_*"]}
  - {id: dev, effect: allow, actors: [bob], environments: [dev], actions: ["*"]}
  - {id: no-db, effect: deny, actors: ["*"], assets: ["db-*"], actions: ["*"]}
  - {id: asks, effect: allow, actors: [ann, bob], controls: [explain]}
"""

HOSTS = st.sampled_from(["web-01", "db-01", "mail-1", "{{ item }}", "{{ steps.a.output.h }}", 7])
STEPS = st.fixed_dictionaries(
    {
        "tool": st.sampled_from(["df", "systemctl", "noop", "nonsense", "powershell"]),
        "parameters": st.one_of(
            st.fixed_dictionaries({"host": HOSTS}),
            st.fixed_dictionaries(
                {
                    "host": HOSTS,
                    "action": st.sampled_from(["status", "restart", "{{ item }}"]),
                    "unit": st.just("nginx"),
                }
            ),
            st.just({}),
        ),
    },
    optional={
        "id": st.sampled_from(["a", "b"]),
        "for_each": st.sampled_from([["web-01", "web-02"], ["db-01"], "steps.a.output"]),
        "timeout_seconds": st.sampled_from([1, 600]),
        "assets": st.lists(st.sampled_from(["web-01", "db-01"]), max_size=2),
        "secrets": st.sampled_from(
            [
                {"ssh_password": {"type": "secret", "path": "env/MAIL_KEY"}},
                {"ssh_password": {"type": "secret", "path": "env/ROOT"}},
            ]
        ),
        "compensate": st.sampled_from(
            [
                {"tool": "df", "parameters": {"host": "db-01"}},
                {"tool": "systemctl",
                 "parameters": {"host": "web-01", "action": "start", "unit": "nginx"}},
            ]
        ),
    },
)  # fmt: skip
REQUESTS = st.fixed_dictionaries(
    {
        "actor": st.sampled_from(["ann", "bob"]),
        "plan": st.fixed_dictionaries(
            {"steps": st.lists(STEPS, min_size=1, max_size=3)},
            optional={
                "environment": st.sampled_from(["dev", "staging", "prod", "moon"]),
                "approval_level": st.integers(0, 3),
                "sla_class": st.sampled_from(["fast", "long"]),
                "action_class": st.sampled_from(["read", "deploy"]),
                "type": st.sampled_from(["query", "install", "other"]),
                "priority": st.integers(0, 11),
            },
        ),
    },
    optional={"idempotency_key": st.sampled_from(["k", "l"])},
)
FACTS = (
    "plan_hash", "environment", "sla_class", "mode", "action_class", "priority",
    "timeout_seconds", "sla_seconds", "approval_level",
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=3))
def test_what_is_told_is_what_happens(requests: list[dict[str, Any]]) -> None:
    here = Simulation(policy=POLICY)
    for request in requests:
        before = dict(here.changelog)
        told = here.submit({**request, "explain": True})
        assert kinds(told) == ["execution.explained"]
        assert told[0]["seq"] == 1
        data = told[0]["data"]
        assert not here.commands
        # Nothing but the id is remembered.
        assert all(b"explained" in v for k, v in here.changelog.items() if k not in before)
        real = here.submit(request)
        here.commands.clear()
        outcome = real[0]["type"].removeprefix("execution.")
        assert data["answer"] == outcome
        happened = real[0]["data"]
        if outcome == "accepted":
            assert {name: data[name] for name in FACTS} == {name: happened[name] for name in FACTS}
            assert all(call["allowed"] for call in data["calls"])
            assert data["calls_left_out"] == 0
            waits = "execution.approval_requested" in kinds(real)
            assert waits == (data["approval_level"] > 0) == (data["approval_seconds"] is not None)
            assert waits or not any(call["approval"] for call in data["calls"])
            limits = [step["timeout_seconds"] for step in happened["plan"]["steps"]]
            calls = [call for call in data["calls"] if call["step"] is not None]
            assert [call["timeout_seconds"] for call in calls] == limits
        elif outcome == "rejected":
            assert data["problems"] == happened["problems"]
            assert (data["reason"], data["message"]) == (happened["reason"], happened["message"])
            refused = {call["field"] for call in data["calls"] if not call["allowed"]}
            named = {problem["field"] for problem in data["problems"]}
            assert all(any(name.startswith(field) for name in named) for field in refused)
        else:
            assert data["duplicate_of"] == real[0]["execution_id"]


def explained(request: dict[str, Any], policy: str | None = None) -> dict[str, Any]:
    here = Simulation() if policy is None else Simulation(policy=policy)
    (event,) = here.submit({**request, "explain": True})
    assert event["type"] == "execution.explained"
    data: dict[str, Any] = event["data"]
    return data


def test_calls_are_bound_and_secrets_masked() -> None:
    secret = {"type": "secret", "path": "env/TOKEN"}
    data = explained(
        {
            "actor": "ann",
            "steps": [
                {"tool": "df", "parameters": {"host": "web-01", "path": "/var"}},
                {"tool": "df", "parameters": {"host": "{{ steps.step_1.output.host }}"}},
                {"tool": "curl", "parameters": {
                    "url": "https://example.org/", "headers": {"Authorization": secret}}},
            ],
        }
    )  # fmt: skip
    literal, template, masked = data["calls"]
    assert literal["invocation"]["argv"][0] == "df"
    assert "/var" in literal["invocation"]["argv"]
    assert (literal["assets"], literal["locks"], literal["templates"]) == (["web-01"], False, [])
    assert (template["assets"], template["templates"]) == ([None], ["host"])
    assert template["invocation"] is None
    assert masked["secrets"] == ["env/TOKEN"]
    assert masked["invocation"]["arguments"]["headers"] == {"Authorization": "***"}
    assert "path" not in orjson.dumps(masked["invocation"]["arguments"]["headers"]).decode()


def test_the_id_of_an_explanation_is_used_for_nothing_else() -> None:
    here = Simulation()
    request: dict[str, Any] = {"actor": "ann", "idempotency_key": "k", "steps": [{"tool": "noop"}]}
    (event,) = here.submit({**request, "explain": True})
    here.restart()
    again = here.submit({**request, "execution_id": event["execution_id"]})
    assert kinds(again) == ["execution.rejected"]
    assert again[0]["execution_id"] != event["execution_id"]
    assert kinds(here.submit(request))[0] == "execution.accepted"


def test_a_request_that_is_no_request_is_explained_too() -> None:
    data = explained({"steps": [{"tool": 5}]})
    assert (data["answer"], data["reason"]) == ("rejected", "invalid")
    assert data["problems"][0]["field"] == "plan.steps[0].tool"


def test_an_explanation_needs_the_right_to_ask() -> None:
    here = Simulation(policy=POLICY)
    request = {"actor": "eve", "explain": True, "steps": [{"tool": "noop"}]}
    rejected, audit = here.submit(request)
    assert rejected["data"]["reason"] == "forbidden"
    assert (audit["data"]["action"], audit["data"]["allowed"]) == ("explain", False)


def test_the_longest_plan_fits_a_record() -> None:
    host = ".".join(["h" * 60] * 4)
    step = {"tool": "df", "parameters": {"host": host, "path": "/" + "p" * 350}}
    data = explained({"actor": "ann", "steps": [step] * 10})
    assert (data["answer"], data["calls_left_out"], len(data["calls"])) == ("accepted", 0, 10)
    data = explained({"actor": "ann", "steps": [step] * 750})
    assert data["answer"] == "accepted"
    assert data["calls_left_out"] > 0
    assert len(data["calls"]) + data["calls_left_out"] == 750
