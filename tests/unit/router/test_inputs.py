"""Inputs of a plan: what a request may give, and where the values stand once it is admitted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from processors.router import input_values
from tests.unit.router.simulation import Simulation

Json = dict[str, Any]


def plan(inputs: Json, *steps: Json, **fields: Any) -> Json:
    return {"name": "with inputs", "inputs": inputs, "steps": list(steps), **fields}


def ask(body: Json, given: Json | None = None, key: str = "k") -> list[Json]:
    request = {"plan": body, "actor": "ann", "idempotency_key": key}
    whole = request if given is None else {**request, "inputs": given}
    # Foreign clients write integers of any size, which orjson does not.
    return Simulation().submit(json.dumps(whole).encode())


def admitted(body: Json, given: Json | None = None) -> Json:
    events = ask(body, given)
    assert events[0]["type"] == "execution.accepted", events[0]["data"]
    return dict(events[0]["data"]["plan"])


def problems(body: Json, given: Json | None = None) -> list[tuple[str, str]]:
    events = ask(body, given)
    assert [event["type"] for event in events] == ["execution.rejected"], events
    assert events[0]["data"]["reason"] == "invalid"
    return [(one["field"], one["message"]) for one in events[0]["data"]["problems"]]


DF = {"tool": "df", "parameters": {"host": "{{ inputs.host }}", "path": "{{ inputs.path }}"}}
HOST = {"host": {"type": "string"}, "path": {"default": "/"}}


def test_the_real_names_stand_in_the_admitted_plan() -> None:
    found = admitted(plan(HOST, DF, environment="{{ inputs.path }}") | {"environment": "dev"},
                     {"host": "web-01"})  # fmt: skip
    assert found["steps"][0]["parameters"] == {"host": "web-01", "path": "/"}
    assert found["inputs"] == {"host": "web-01", "path": "/"}
    # Nothing is left that only the run would tell.
    assert not found["steps"][0].get("references")


def test_a_value_keeps_its_type_and_a_text_is_put_together() -> None:
    inputs = {"n": {"type": "integer"}, "deep": {"type": "object"}, "list": {"type": "list"}}
    value = {"n": "{{ inputs.n }}", "text": "{{inputs.n}} of {{ inputs.list[1] }}",
             "deep": "{{ inputs.deep.a[0] }}", "all": "{{ inputs.list }}"}  # fmt: skip
    step = {"tool": "noop", "parameters": {"value": value}}
    found = admitted(
        plan(inputs, step, timeout_seconds="{{ inputs.n }}"),
        {"n": 30, "deep": {"a": [True]}, "list": ["x", "y"]},
    )
    assert found["steps"][0]["parameters"]["value"] == {
        "n": 30, "text": "30 of y", "deep": True, "all": ["x", "y"],
    }  # fmt: skip


def test_inputs_stand_in_steps_of_every_depth_and_in_fields_that_are_not_known_yet() -> None:
    """The JSON is replaced before the models read it, so a new field of a step needs nothing."""
    from processors.router.input_references import Substituted, substitute
    from processors.router.input_values import declarations

    inner = {"tool": "noop", "parameters": {"value": "{{ inputs.x }}"}, "new": ["{{ inputs.x }}"]}
    written = plan({"x": {}}, {"id": "block", "steps": [inner], "until": "inputs.x == output.x"})
    written["finally"] = [{"tool": "noop", "compensate": {"tool": "noop", "parameters":
                           {"value": "{{ inputs.x }}{{ steps.a.output.b }}"}}}]  # fmt: skip
    declared = declarations(written["inputs"])
    assert isinstance(declared, dict)
    found = substitute(written, declared, {"x": "v"})
    assert isinstance(found, Substituted)
    block = found.plan["steps"][0]
    assert block["steps"][0] == {"tool": "noop", "parameters": {"value": "v"}, "new": ["v"]}
    assert block["until"] == "inputs.x == output.x"
    undo = found.plan["finally"][0]["compensate"]["parameters"]
    assert undo == {"value": "v{{ steps.a.output.b }}"}


SECOND_ORDER = "{{ steps.first.output.value }}"


def run_with(value: Any, parameters: Json, **inputs: Any) -> Json:
    """The parameters of the second step as an executor gets them."""
    simulation = Simulation()
    steps = [{"id": "first", "tool": "noop", "parameters": {"value": "a secret of the first"}},
             {"id": "second", "tool": "noop", "parameters": parameters}]  # fmt: skip
    declared = {"x": {"type": "string"}, **{name: {} for name in inputs}}
    simulation.submit({"plan": plan(declared, *steps), "actor": "ann",
                       "inputs": {"x": value, **inputs}})  # fmt: skip
    first = simulation.commands[0]
    simulation.report("started", first)
    simulation.report("succeeded", first, output={"value": "a secret of the first"})
    second: Json = simulation.commands[-1]
    assert second["step"] == "second"
    return dict(second["parameters"])


def test_a_value_is_never_an_expression() -> None:
    assert run_with(SECOND_ORDER, {"value": "{{ inputs.x }}"}) == {"value": SECOND_ORDER}
    text = "<{{ inputs.x }}> {{ steps.first.status }}"
    assert run_with(SECOND_ORDER, {"value": text}) == {"value": f"<{SECOND_ORDER}> succeeded"}


def test_two_values_side_by_side_make_no_expression() -> None:
    """Each of them is harmless; put together before the text is rendered they would be one."""
    given = {"value": "{{ inputs.x }}{{ inputs.y }}"}
    inner = "{ steps.first.output.value }}"
    assert run_with("{", given, y=inner) == {"value": "{" + inner}
    assert run_with("{", {"value": "{{ inputs.x }}" + inner}) == {"value": "{" + inner}


def test_an_item_of_a_list_is_never_an_expression() -> None:
    simulation = Simulation()
    step = {"tool": "noop", "for_each": "inputs.names", "parameters": {"value": "{{ item }}"}}
    simulation.submit({"plan": plan({"names": {"type": "list"}}, step), "actor": "ann",
                       "inputs": {"names": [SECOND_ORDER, "plain"]}})  # fmt: skip
    values = [command["parameters"]["value"] for command in simulation.commands]
    assert values == [SECOND_ORDER, "plain"]


@pytest.mark.parametrize(
    "for_each", ["inputs.x", "{{ inputs.x }}", "steps.{{ inputs.y }}.output.value", " inputs.x "]
)
def test_a_text_is_never_the_expression_of_a_loop(for_each: str) -> None:
    simulation = Simulation()
    steps: list[Json] = [{"id": "first", "tool": "noop"},
             {"id": "second", "tool": "noop", "for_each": for_each,
              "parameters": {"value": "{{ item }}"}}]  # fmt: skip
    given = {"x": "steps.first.output.value", "y": "first"}
    simulation.submit({"plan": plan({"x": {}, "y": {}}, *steps), "actor": "ann", "inputs": given})
    (first,) = simulation.commands
    simulation.report("started", first)
    events = simulation.report("succeeded", first, output={"value": ["a secret"]})
    assert len(simulation.commands) == 1
    (failed,) = [event["data"] for event in events if event["type"] == "step.failed"]
    assert "a list is needed" in failed["error"]["message"]


@pytest.mark.parametrize(
    "steps",
    [
        "{{ inputs.steps }}",
        ["{{ inputs.step }}"],
        [{"tool": "noop", "compensate": "{{ inputs.step }}"}],
    ],
)
def test_a_value_is_never_a_step(steps: Any) -> None:
    step = {"tool": "noop", "when": "steps.x.output.secret == 'a'"}
    body = {**plan({"step": {"type": "object"}, "steps": {"type": "list"}}), "steps": steps}
    assert problems(body, {"step": step, "steps": [step]})[0][0].startswith("plan.steps")


def test_a_literal_brace_is_written_as_a_text_of_the_language() -> None:
    assert run_with("x", {"value": "{{ '{{' }} {{ inputs.x }}"}) == {"value": "{{ x"}


def test_conditions_and_expressions_name_the_inputs() -> None:
    simulation = Simulation()
    inputs = {"n": {"type": "integer"}, "names": {"type": "list"}}
    steps: list[Json] = [
        {"id": "no", "tool": "noop", "when": "inputs.n > 5"},
        {"id": "yes", "tool": "noop", "when": "{{ inputs.n < 5 }}",
         "parameters": {"value": "{{ inputs.n + 1 }}"}},
        {"id": "each", "tool": "noop", "for_each": "inputs.names.filter(n, n != 'b')",
         "parameters": {"value": "{{ item }}"}},
    ]  # fmt: skip
    for step in steps:
        step["depends_on"] = []
    request = {"plan": plan(inputs, *steps), "actor": "ann",
               "inputs": {"n": 3, "names": ["a", "b"]}}  # fmt: skip
    events = simulation.submit(request)
    assert [event["step"] for event in events if event["type"] == "step.skipped"] == ["no"]
    sent = {one["step"]: one["parameters"].get("value") for one in simulation.commands}
    assert sent == {"yes": 4, "each[0]": "a"}


def test_inputs_outlast_a_restart_and_a_rerun() -> None:
    simulation = Simulation()
    step = {"tool": "noop", "parameters": {"value": "{{ inputs.n * 2 }}"}}
    events = simulation.submit({"plan": plan({"n": {"type": "integer"}}, step), "actor": "ann",
                                "inputs": {"n": 4}})  # fmt: skip
    command = simulation.commands[-1]
    simulation.restart()
    simulation.report("started", command)
    error = {"class": "test", "message": "no", "transient": False}
    simulation.report("failed", command, error=error)
    simulation.control("rerun", events[0]["execution_id"], actor="ann")
    assert len(simulation.commands) == 2
    assert simulation.commands[-1]["parameters"]["value"] == 8


@pytest.mark.parametrize(
    ("declared", "given", "field", "words"),
    [
        ({"host": {}}, {"hosst": "x", "host": "y"}, "inputs.hosst", "did you mean host?"),
        ({}, {"x": 1}, "inputs.x", "the plan declares none"),
        ({"n": {"type": "integer"}}, {"n": "3"}, "inputs.n", "of type integer, and is a string"),
        ({"n": {"type": "integer"}}, {"n": True}, "inputs.n", "and is a boolean"),
        ({"n": {"type": "integer"}}, {"n": 1.5}, "inputs.n", "and is a number"),
        ({"b": {"type": "boolean"}}, {"b": 1}, "inputs.b", "and is an integer"),
        ({"l": {"type": "list", "items": "string"}}, {"l": ["a", 1]}, "inputs.l[1]", "string"),
        ({"host": {"description": "which"}}, {}, "inputs.host", "required: give a value of type"),
        ({"e": {"enum": ["a", "b"]}}, {"e": "c"}, "inputs.e", '"c" is not one of "a", "b"'),
        ({"e": {"type": "number", "enum": [1]}}, {"e": 1.5}, "inputs.e", "not one of 1"),
        ({"p": {"pattern": "[a-z]+"}}, {"p": "a1"}, "inputs.p", '"a1" does not match [a-z]+'),
        ({"p": {"pattern": "(a+)+"}}, {"p": "a" * 20_000 + "!"}, "inputs.p", "does not match"),
        ({"n": {"type": "integer", "maximum": 3}}, {"n": 4}, "inputs.n", "4 is more than 3"),
        ({"s": {"max_length": 2}}, {"s": "abc"}, "inputs.s", "3 characters; 2 are allowed"),
        ({"o": {"type": "object"}}, {"o": {"k": {"type": "secret", "path": "env/X"}}},
         "inputs.o", "`secret: true`"),
        ({"s": {"secret": True}}, {"s": "hunter2"}, "inputs.s", "no secret reference"),
        ({"n": {"type": "integer"}}, {"n": 2**80}, "inputs.n", "type integer"),
        ({"s": {}}, {"s": "a\0b"}, "inputs.s", "NUL"),
        ({"x": {"type": "text"}}, {}, "plan.inputs.x.type", "string"),
        ({"x": {"defualt": 1}}, {}, "plan.inputs.x.defualt", "no such field"),
        ({"x": {"type": "integer", "default": "a"}}, {}, "plan.inputs.x.default", "type integer"),
        ({"x": {"pattern": "("}}, {"x": "a"}, "plan.inputs.x.pattern", "no regular expression"),
        ({"x": {"default": "a", "enum": ["b"]}}, {}, "plan.inputs.x.default", "not one of"),
        ({"x": {"secret": True, "pattern": "a"}}, {}, "plan.inputs.x.pattern", "take it out"),
        ({"x": {"pattern": "a", "enum": ["a"]}}, {}, "plan.inputs.x.pattern", "one of the two"),
        ({"1x": {}}, {}, "plan.inputs.1x", "must match"),
        ("host", {}, "plan.inputs", "write an object"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(
    declared: Any, given: Json, field: str, words: str
) -> None:
    found = problems(plan(declared, {"tool": "noop"}), given)
    assert len(found) == 1
    assert found[0][0] == field
    assert words in found[0][1]
    assert "hunter2" not in found[0][1]


@pytest.mark.parametrize(
    ("step", "field", "words"),
    [
        ({"tool": "noop", "parameters": {"value": "{{ inputs.hsot }}"}},
         "plan.steps[0].parameters.value", "did you mean host?"),
        ({"tool": "noop", "when": "inputs.hsot == 'a'"}, "plan.steps[0].when", "did you mean"),
        ({"tool": "noop", "when": "inputs.token == 'a'"}, "plan.steps[0].when", "is a secret"),
        ({"tool": "noop", "parameters": {"value": "a {{ inputs.token }}"}},
         "plan.steps[0].parameters.value", "only be the whole value"),
        ({"tool": "noop", "parameters": {"value": "{{ inputs.token }}"}},
         "plan.steps[0].parameters.value", "only a parameter that is one takes it"),
        ({"tool": "noop", "assets": ["{{ inputs.host + 'x' }}"]},
         "plan.steps[0].assets[0]", "only a plain reference"),
        ({"tool": "noop", "assets": ["{{ inputs.braces }}"]},
         "plan.steps[0].assets[0]", "its value holds {{"),
        ({"tool": "noop", "parameters": {"value": "{{ inputs.host.name }}"}},
         "plan.steps[0].parameters.value", "there is no name"),
        ({"tool": "noop", "timeout_seconds": "{{ inputs.host }}"},
         "plan.steps[0].timeout_seconds", "number"),
    ],
)  # fmt: skip
def test_where_an_input_cannot_stand_nothing_runs(step: Json, field: str, words: str) -> None:
    declared = {"host": {}, "braces": {}, "token": {"secret": True}}
    given = {"host": "web-01", "braces": "a{{b", "token": {"type": "secret", "path": "env/T"}}
    found = problems(plan(declared, step), given)
    assert [one[0] for one in found] == [field]
    assert words in found[0][1]


def test_a_secret_becomes_a_literal_reference_of_the_plan() -> None:
    simulation = Simulation()
    step = {"tool": "curl", "parameters": {"url": "https://web-01/", "headers":
            {"Authorization": "{{ inputs.token }}"}}}  # fmt: skip
    reference = {"type": "secret", "path": "env/TOKEN"}
    events = simulation.submit({"plan": plan({"token": {"secret": True}}, step), "actor": "ann",
                                "inputs": {"token": reference}})  # fmt: skip
    assert events[0]["type"] == "execution.accepted", events[0]["data"]
    found = events[0]["data"]["plan"]
    assert found["steps"][0]["secret_paths"] == ["/headers/Authorization"]
    assert "inputs" not in found
    # Whoever asks needs the right to use the secret, as for a plan that names it.
    assert simulation.commands[0]["secret_paths"] == ["/headers/Authorization"]


def test_the_hash_covers_the_values() -> None:
    body = plan({"n": {"type": "integer", "default": 1}}, {"tool": "noop", "when": "inputs.n > 0"})
    simulation = Simulation()

    def kind(given: Json) -> str:
        events = simulation.submit(
            {"plan": body, "actor": "ann", "idempotency_key": "k", "inputs": given}
        )
        return str(events[0]["type"])

    assert kind({}) == "execution.accepted"
    # The default is the same value.
    assert kind({"n": 1}) == "execution.duplicate"
    assert kind({"n": 2}) == "execution.rejected"


def test_without_a_key_other_inputs_are_another_request() -> None:
    body = plan({"n": {"type": "integer"}}, {"tool": "noop"})
    simulation = Simulation()
    kinds = [
        simulation.submit({"plan": body, "actor": "ann", "inputs": {"n": n}})[0]["type"]
        for n in (1, 2, 1)
    ]
    assert kinds == ["execution.accepted", "execution.accepted", "execution.duplicate"]


def test_a_value_in_thousands_of_places_is_refused_by_its_size() -> None:
    step = {"tool": "noop", "parameters": {"value": ["{{ inputs.x }}"] * 1_000}}
    found = problems(plan({"x": {}}, step), {"x": "y" * 100_000})
    assert found == [("plan", "its inputs make it larger than 900000 bytes: split it")]


def test_the_patterns_of_a_plan_have_a_time_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_values, "MAX_PATTERN_SECONDS", 0.0)
    declared = {"a": {"pattern": "x", "default": "x"}, "b": {"pattern": "x", "default": "x"}}
    found = problems(plan(declared, {"tool": "noop"}))
    words = "the patterns of all inputs take too long: give simpler ones"
    assert found == [("plan.inputs.b.pattern", words)]


def test_how_often_and_how_long_can_be_inputs_too() -> None:
    inputs = {"polls": {"type": "integer"}, "pause": {"type": "number"}, "bad": {"type": "boolean"}}
    until = {
        "condition": "output.value == inputs.polls",
        "limit": "{{ inputs.polls }}",
        "interval_seconds": "{{ inputs.pause }}",
        "message": "not after {{ inputs.polls }}",
    }
    check = {"condition": "output.value > 0", "retry": "{{ inputs.bad }}"}
    step = {"tool": "noop", "until": until, "check": check}
    found = admitted(plan(inputs, step), {"polls": 7, "pause": 0.5, "bad": True})["steps"][0]
    assert found["until"] == {**until, "limit": 7, "interval_seconds": 0.5}
    assert found["check"]["retry"] is True
    # A value of the wrong type is refused like one that stands in the plan.
    wrong = plan({"polls": {}}, {"tool": "noop", "until": {**until, "interval_seconds": 1}})
    told = dict(problems(wrong, {"polls": "many"}))
    assert "valid integer" in told["plan.steps[0].until.limit"]


@pytest.mark.parametrize("conditions", ["inputs.dayz > 1", ["1 > 0", "inputs.dayz > 1"]])
def test_an_assert_names_inputs_that_exist(conditions: Any) -> None:
    step = {"assert": conditions, "message": "{{ inputs.dais }} left"}
    told = problems(plan({"days": {"type": "integer", "default": 1}}, step))
    assert [message.split(";")[0] for _, message in told] and len(told) == 2, told
    assert "dayz" in told[0][1] and "dais" in told[1][1]


def test_a_value_with_braces_in_the_message_of_an_assert_stays_a_value() -> None:
    simulation = Simulation()
    step = {"id": "a", "assert": "1 > 2", "message": "{{ inputs.name }}: {{ execution.id }}"}
    body = {"plan": plan({"name": {}}, step), "inputs": {"name": "{{ 6 * 7 }}"}}
    events = simulation.submit(body)
    (failed,) = [event for event in events if event["type"] == "step.failed"]
    ident = events[0]["execution_id"]
    assert failed["data"]["error"]["message"] == f"{{{{ 6 * 7 }}}}: {ident}"


@pytest.mark.parametrize(
    "step",
    [
        {"assert": "inputs.token == 'x'"},
        {"assert": "inputs.token"},
        {"assert": "1 > 2", "message": "it is {{ inputs.token }}"},
        {"assert": "1 > 2", "message": "{{ inputs.token }}"},
        {"tool": "noop", "check": {"condition": "inputs.token.path == 'env/A'"}},
        {"tool": "noop", "until": {"condition": "true", "message": "{{ inputs.token }}"}},
    ],
)
def test_no_condition_and_no_message_looks_at_a_secret(step: Json) -> None:
    reference = {"type": "secret", "path": "env/A"}
    told = problems(plan({"token": {"secret": True}}, step), {"token": reference})
    assert [message for _, message in told] == [
        "token is a secret, which no expression may look at"
    ]
