"""Secret references are literals of the plan: recorded by path, neither moved nor made later."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.masking import Masker
from drivers.secret_places import placed
from runtime.cel import expressions
from streams.commands import StepCommand
from tests import secret_kit
from tests.unit.router.simulation import Simulation, kinds
from toolmeta import registry
from toolmeta.invocation import Invocation
from toolmeta.secret_references import pointers

TOKEN: Final = {"type": "secret", "path": "env/TOKEN"}
STOLEN: Final = {"type": "secret", "path": "env/STOLEN"}
VALUES: Final = {"env/TOKEN": "value-of-the-token", "env/STOLEN": "value-that-is-stolen"}
REGISTRY: Final = registry.load()
WEBHOOK: Final = REGISTRY.get("webhook_sender")
URL: Final = "https://example.org/"


def curl(**parameters: Any) -> dict[str, Any]:
    return {"tool": "curl", "id": "post", "parameters": {"url": URL, **parameters}}


def after(output: Any, step: dict[str, Any]) -> tuple[Simulation, dict[str, Any] | None]:
    """The command of `step` once the step before it, `get`, has ended with `output`."""
    simulation = Simulation()
    simulation.submit({"plan": {"steps": [{"tool": "noop", "id": "get"}, step]}})
    assert "execution.accepted" in kinds(simulation.events), simulation.events
    simulation.run(simulation.take(), {"body": output})
    return simulation, simulation.take() if simulation.commands else None


def bound(command: dict[str, Any]) -> Any:
    source = secret_kit.Given(VALUES)
    return secret_kit.bound(source, StepCommand.model_validate(command))


def test_pointers() -> None:
    value = {"a/b": [{}, TOKEN], "m~n": {"": TOKEN}, "x": {"type": "secret", "path": "no"}, "y": 1}
    assert pointers(value) == ("/a~1b/1", "/m~0n/")


def test_a_hostile_answer_is_no_reference() -> None:
    for template in ("{{ steps.get.output.body }}", {"A": "{{ steps.get.output.body }}"}):
        simulation, command = after(STOLEN, curl(headers=template))
        if command is not None:
            problems = bound(command)
            assert isinstance(problems, list)
            assert "value-that-is-stolen" not in repr(problems)
        assert "value-that-is-stolen" not in repr(simulation.out.records)


def test_a_reference_of_the_plan_is_recorded_and_resolved_beside_a_rendered_value() -> None:
    step = curl(headers={"Authorization": TOKEN, "X-Id": "{{ steps.get.output.body }}"})
    _, command = after("a-1", step)
    assert command is not None
    assert command["secret_paths"] == ["/headers/Authorization"]
    invocation = bound(command)
    assert isinstance(invocation, Invocation)
    assert invocation.arguments["headers"] == {"Authorization": VALUES["env/TOKEN"], "X-Id": "a-1"}


def test_the_path_of_a_reference_is_never_rendered() -> None:
    step = curl(headers={"A": {"type": "secret", "path": "env/{{ steps.get.output.body }}"}})
    simulation = Simulation()
    simulation.submit({"plan": {"steps": [{"tool": "noop", "id": "get"}, step]}})
    assert kinds(simulation.events) == ["execution.rejected"]


def test_a_compensation_has_its_own_paths() -> None:
    undo = {"tool": "curl", "parameters": {"url": URL, "headers": {"A": TOKEN}}}
    simulation = Simulation()
    simulation.submit(
        {
            "plan": {
                "steps": [
                    {"tool": "noop", "id": "do", "compensate": undo},
                    {"tool": "noop", "id": "fails", "on_failure": "compensate"},
                ]
            }
        }
    )
    simulation.run(simulation.take(), {"changed": True})
    simulation.fail(simulation.take())
    command = simulation.take()
    assert command["step"] == "do.undo"
    assert command["secret_paths"] == ["/headers/A"]


def test_an_item_is_never_a_reference_even_as_a_literal_of_the_plan() -> None:
    simulation = Simulation()
    step = {**curl(headers={"A": "{{ item }}"}), "for_each": [TOKEN]}
    simulation.submit({"plan": {"steps": [step]}})
    for command in simulation.commands:
        assert "secret_paths" not in command
        assert isinstance(bound(command), list)


_TEXTS = st.sampled_from(["secret", "env/STOLEN", "env/TOKEN", "type", "path", "a"])
_OUTPUTS = st.recursive(
    st.none() | st.booleans() | _TEXTS | st.just(STOLEN) | st.just(TOKEN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)
_LITERALS = st.recursive(
    st.sampled_from(["{{ steps.get.output }}", "x {{ steps.get.output }}", "plain", TOKEN]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "path", "a", "b/c", "~"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(_LITERALS, _OUTPUTS)
def test_rendering_neither_moves_nor_makes_a_reference(literal: Any, output: Any) -> None:
    """Whatever outputs hold: resolved is only what the plan has at the recorded paths."""
    parameters = {"url": URL, "headers": {"A": literal}, "payload": literal}
    recorded = pointers(parameters)
    context = {"steps": {"get": {"output": output}}}
    rendered = expressions.render(parameters, context)
    command = {
        "execution_id": "01989c2a-7c00-8abc-9def-0123456789ab", "step": "post", "attempt": 1,
        "tool": "webhook_sender", "domain": "communication", "parameters": rendered,
        "tenant": "acme", "actor": "a", "environment": "dev", "timeout_seconds": 5,
        "lease_seconds": 5, "dispatched_at": "2026-01-01T00:00:00Z",
        "expires_at": "2026-01-01T00:01:00Z", "secret_paths": recorded,
    }  # fmt: skip
    assert WEBHOOK is not None
    found = placed(WEBHOOK, StepCommand.model_validate(command))
    if isinstance(found, list):
        return
    values = {place: VALUES[str(place.path)] for place in found.places}
    assert set(values.values()) <= {VALUES["env/TOKEN"]}
    resolved = found.filled(values)
    for name in WEBHOOK.secret_parameters & resolved.keys():
        # Nothing that looks like a reference goes out as data either.
        assert not _looks(resolved[name])
    assert repr(resolved).count(VALUES["env/TOKEN"]) == len(recorded) == len(values)
    assert Masker(values.values()).text(repr(resolved)).count(VALUES["env/TOKEN"]) == 0


def _looks(value: Any) -> bool:
    if isinstance(value, dict):
        return value.get("type") == "secret" or any(map(_looks, value.values()))
    return isinstance(value, list) and any(map(_looks, value))
