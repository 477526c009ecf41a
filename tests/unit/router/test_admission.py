"""Admission: what is refused, with the field and the remedy, and what is a duplicate."""

from __future__ import annotations

from typing import Any

import pytest

from streams.ids import mint_execution_id, route_key
from tests.unit.router.simulation import Simulation, kinds


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        ({"steps": [{"tool": "noop_"}]}, "plan.steps[0].tool", "did you mean noop?"),
        (
            {"steps": [{"tool": "sleep", "parameters": {"seconds": "soon"}}]},
            "plan.steps[0].parameters.seconds",
            "",
        ),
        ({"steps": [{"tool": "noop", "parameters": {"x": 1}}]}, "plan.steps[0].parameters.x", ""),
        (
            {"steps": [{"id": "a", "tool": "noop"}, {"id": "a", "tool": "noop"}]},
            "plan.steps[1].id",
            "unique",
        ),
        (
            {"steps": [{"id": "a", "tool": "noop", "depends_on": ["b"]},
                       {"id": "b", "tool": "noop", "depends_on": ["a"]}]},
            "plan.steps",
            "wait for each other",
        ),
        ({"steps": [{"id": "a", "tool": "noop", "depends_on": ["a"]}]}, "plan.steps[0].depends_on",
         "itself"),
        ({"steps": [{"tool": "noop", "depends_on": ["ghost"]}]}, "plan.steps[0].depends_on",
         "there is no step ghost"),
        ({"steps": [{"tool": "noop", "parameters": {"value": "{{ steps.ghost.output }}"}}]},
         "plan.steps[0].parameters.value", "there is no step ghost"),
        ({"steps": [{"id": "a", "tool": "noop", "when": "steps.b.output.x == 1"},
                    {"id": "b", "tool": "noop"}]}, "plan.steps[0].when", "depends_on"),
        ({"steps": [{"tool": "noop", "when": "1 +"}]}, "plan.steps[0].when", "CEL"),
        ({"steps": []}, "plan.steps", "at least 1"),
        ({"steps": [{"tool": "noop", "timeout_seconds": -1}]}, "plan.steps[0].timeout_seconds", ""),
        ({"plan": {"steps": [{"tool": "noop"}]}, "tenant": "a b"}, "tenant", "must match"),
        (b'{"steps":[{"tool":"noop","parameters":{"value":NaN}}]}',
         "plan.steps[0].parameters.value", "finite"),
        (b'{"steps":[{"tool":"noop","parameters":{"value":1e999}}]}',
         "plan.steps[0].parameters.value", "finite"),
        (b'{"steps":[{"tool":"noop","parameters":{"value":"a\\u0000b"}}]}',
         "plan.steps[0].parameters.value", "NUL"),
        (b'{"steps":[{"tool":"noop","parameters":{"value":' + b"9" * 30 + b"}}]}",
         "plan.steps[0].parameters.value", "64 bits"),
        (b'{"steps":[{"tool":"noop","parameters":{"value":' + b"[" * 5000 + b"]" * 5000 + b"}}]}",
         "plan", "nested too deep"),
        (b'{"steps":[{"tool":"noop","parameters":{"value":"' + b"x" * 1_000_000 + b'"}}]}',
         "plan", "bytes"),
        ({"steps": [{"tool": "noop"}] * 10_000}, "plan", ""),
        ({"hello": "world"}, "plan", "required"),
    ],
)  # fmt: skip
def test_a_bad_request_is_rejected_with_its_field(request_: Any, field: str, words: str) -> None:
    simulation = Simulation()
    events = simulation.submit(request_)
    assert kinds(events) == ["execution.rejected"]
    assert events[0]["seq"] == 1
    problems = events[0]["data"]["problems"]
    assert any(p["field"].startswith(field) and words in p["message"] for p in problems), problems
    assert not simulation.commands
    assert kinds(simulation.submit({"steps": [{"tool": "noop"}]}))[0] == "execution.accepted"


@pytest.mark.parametrize(
    "raw",
    [b"\xff\xfe\x00", b"not json", b"[1,2]", b'"text"', b"12", b"{", b"\x1f\x8b\x08\x00", b"null"],
)
def test_poison_is_parked_unchanged(raw: bytes) -> None:
    simulation = Simulation()
    assert simulation.submit(raw) == []
    assert [(name, value) for name, value, _ in simulation.dead] == [
        ("execution.requests.dlq", raw)
    ]
    headers = simulation.dead[0][2]
    assert headers["runstream-error-topic"] == b"execution.requests"


def test_the_same_request_again_is_a_duplicate_of_the_first() -> None:
    simulation = Simulation()
    request = {"idempotency_key": "k", "plan": {"steps": [{"tool": "noop"}]}}
    first = simulation.submit(request)[0]["execution_id"]
    again = simulation.submit(request)
    assert kinds(again) == ["execution.duplicate"]
    assert again[0]["execution_id"] == first
    simulation.run(simulation.take())
    simulation.restart()
    late = simulation.submit(request)
    assert kinds(late) == ["execution.duplicate"]
    assert late[0]["seq"] == simulation.events[-2]["seq"] + 1
    assert not simulation.commands


def test_the_same_key_with_another_plan_is_a_conflict() -> None:
    simulation = Simulation()
    simulation.submit({"idempotency_key": "k", "plan": {"steps": [{"tool": "noop"}]}})
    other = {"idempotency_key": "k", "plan": {"steps": [{"tool": "noop"}, {"tool": "noop"}]}}
    events = simulation.submit(other)
    assert kinds(events) == ["execution.rejected"]
    assert events[0]["data"]["reason"] == "conflict"
    assert events[0]["data"]["conflicts_with"] == simulation.events[0]["execution_id"]
    assert events[0]["execution_id"] != simulation.events[0]["execution_id"]


def test_a_failed_execution_may_be_submitted_again() -> None:
    simulation = Simulation()
    request = {"idempotency_key": "k", "plan": {"steps": [{"tool": "noop"}]}}
    simulation.submit(request)
    simulation.fail(simulation.take())
    assert kinds(simulation.submit(request))[0] == "execution.accepted"


def test_a_key_is_forgotten_after_its_window() -> None:
    simulation = Simulation()
    request = {"idempotency_key": "k", "plan": {"steps": [{"tool": "noop"}]}}
    simulation.submit(request)
    simulation.run(simulation.take())
    simulation.wait(86_400 + 120)
    assert not simulation.changelog
    assert kinds(simulation.submit(request))[0] == "execution.accepted"


def test_keys_of_tenants_do_not_meet() -> None:
    simulation = Simulation()
    plan = {"steps": [{"tool": "noop"}]}
    for tenant in ("a", "b"):
        events = simulation.submit({"tenant": tenant, "idempotency_key": "k", "plan": plan})
        assert kinds(events)[0] == "execution.accepted"


def test_a_proposed_id_is_used_and_its_route_is_checked() -> None:
    simulation = Simulation()
    plan = {"steps": [{"tool": "noop"}]}
    good = mint_execution_id(route_key("default", "k"), 1_790_000_000_000, 5)
    events = simulation.submit({"execution_id": good, "idempotency_key": "k", "plan": plan})
    assert events[0]["execution_id"] == good
    bad = mint_execution_id("00000000", 1_790_000_000_000, 5)
    events = simulation.submit({"execution_id": bad, "idempotency_key": "l", "plan": plan})
    assert events[0]["data"]["problems"][0]["field"] == "execution_id"
    events = simulation.submit({"execution_id": good, "idempotency_key": "m", "plan": plan})
    assert kinds(events) == ["execution.rejected"]
    assert events[0]["execution_id"] != good


def test_a_rejected_id_is_not_used_for_anything_else() -> None:
    simulation = Simulation()
    wanted = mint_execution_id(route_key("default", "k"), 1_790_000_000_000, 5)
    request = {"execution_id": wanted, "idempotency_key": "k", "plan": {"steps": []}}
    assert simulation.submit(request)[0]["execution_id"] == wanted
    simulation.restart()
    request["plan"] = {"steps": [{"tool": "noop"}]}
    events = simulation.submit(request)
    assert kinds(events) == ["execution.rejected"]
    assert events[0]["execution_id"] != wanted


def test_unknown_fields_are_kept_and_said() -> None:
    simulation = Simulation()
    events = simulation.submit({"plan": {"steps": [{"tool": "noop", "depend_on": []}], "color": 1}})
    assert events[0]["data"]["unknown_fields"] == ["plan.color", "plan.steps[0].depend_on"]
    assert events[0]["data"]["plan"]["extra"] == {"color": 1}


@pytest.mark.parametrize("place", ["tool", "compensate"])
def test_test_tools_are_refused_where_they_are_not_served(place: str) -> None:
    step: dict[str, Any] = {"tool": "noop"}
    if place == "compensate":
        step = {"tool": "df", "parameters": {"path": "/"}, "compensate": {"tool": "argv"}}
    simulation = Simulation(test_tools=False)
    events = simulation.submit({"steps": [step]})
    assert kinds(events) == ["execution.rejected"]
    assert "--test-tools" in events[0]["data"]["message"]


@pytest.mark.parametrize("compensated", [False, True])
def test_inputs_beside_parameters_is_refused(compensated: bool) -> None:
    call = {"tool": "noop", "parameters": {"value": 1}, "inputs": {"value": 2}}
    step = {"tool": "noop", "compensate": call} if compensated else call
    events = Simulation().submit({"steps": [step]})
    assert kinds(events) == ["execution.rejected"]
    (problem,) = events[0]["data"]["problems"]
    where = "plan.steps[0].compensate.inputs" if compensated else "plan.steps[0].inputs"
    assert problem["field"] == where
    assert "put everything into parameters" in problem["message"]


@pytest.mark.parametrize("name", ["\u212aill", "ki\u217c\u217c", "kill\u200b", "\u00a0kill"])
def test_a_tool_is_not_found_by_a_name_that_only_looks_like_it(name: str) -> None:
    request = {"steps": [{"tool": name, "parameters": {"pid": 7}}]}
    events = Simulation().submit(request)
    assert kinds(events) == ["execution.rejected"]
    assert "there is no tool" in events[0]["data"]["problems"][0]["message"]


@pytest.mark.parametrize(
    "actor",
    [
        "mallory ",
        " mallory",
        "mallor\u0443",
        "mallory\u200b",
        "\uff4dallory",
        "mal\nlory",
        "",
        "a" * 129,
    ],
)
def test_an_actor_is_plain_ascii(actor: str) -> None:
    events = Simulation().submit({"steps": [{"tool": "noop"}], "actor": actor})
    assert kinds(events) == ["execution.rejected"]
    assert events[0]["data"]["problems"][0]["field"] == "actor"
    assert events[0]["data"]["actor"] == "anonymous"
