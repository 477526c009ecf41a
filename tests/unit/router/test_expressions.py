"""Expressions: values, and what bounds those that would take everything."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.cel import expressions
from runtime.cel.evaluation import LimitExceeded, Refused, Spent
from runtime.cel.expressions import ExpressionError, check, condition, evaluate, render
from runtime.cel.reserve import Reserve
from runtime.cel.worker import Worker
from tests.unit.router.simulation import Simulation

GROWING = "[[1]]" + ".map(x, x + x + x + x + x + x + x + x + x + x)" * 8 + ".size()"
NESTED = "L.map(a, L.map(b, L.map(c, L.map(d, 1)))).size()"


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


def steps(**outputs: Any) -> dict[str, Any]:
    return {
        "steps": {name: {"status": "succeeded", "output": out} for name, out in outputs.items()}
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("steps.a.output.list[1]", 2),
        ('steps["a"].output.list.map(x, x * 2)', [2, 4, 6]),
        ("steps.a.output.list.size() > 2 ? 'many' : 'few'", "many"),
        ("has(steps.a.output.none)", False),
        ('steps.a.output.list.map(x, x * 2).join(", ")', "2, 4, 6"),
        ('["ä", 1.5, true].join("\\n")', "ä\n1.5\ntrue"),
        ("join([])", ""),
        ("true", True),
        ("null", None),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert evaluate(text, steps(a={"list": [1, 2, 3]})) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps.a.output.gone", "there is no gone"),
        ("1 +", "not a CEL expression"),
        ("unknown + 1", "Undefined"),
        ("b'x'", "not JSON"),
        ("duration('1s')", "not JSON"),
        ("steps.a.output.list.map(x, '" + "y" * 1_500 + "')", "262144 are allowed"),
        ("1 / 0", "`1 / 0`"),
        ("[[1]].join()", "join takes a list of texts and numbers"),
        ("'text'.join(',')", "join takes a list of texts and numbers"),
    ],
)
def test_what_cannot_be_evaluated_says_why(text: str, told: str) -> None:
    with pytest.raises(ExpressionError, match=told) as caught:
        evaluate(text, steps(a={"list": list(range(300))}))
    assert caught.value.error_class == "expression"


def test_a_condition_is_true_or_false() -> None:
    assert condition("{{ 1 < 2 }}", {}) is True
    with pytest.raises(ExpressionError, match="not true or false"):
        condition("1", {})


def test_an_expression_that_would_never_end_fails_and_the_next_is_evaluated() -> None:
    with pytest.raises(ExpressionError, match="exceeds the limit") as caught:
        evaluate(GROWING, {})
    assert caught.value.error_class == "expression_limit"
    assert evaluate("1 + 1", {}) == 2


def test_whatever_the_checks_let_through_is_ended(worker: Worker) -> None:
    with pytest.raises(LimitExceeded):
        worker.ask(NESTED, {"L": list(range(400))}, Spent())
    assert worker.ask("1 + 1", {}, Spent()) == 2


def test_memory_is_bounded(worker: Worker) -> None:
    doubling = "['" + "a" * 1_000 + "']" + ".map(x, x + x)" * 22 + ".size()"
    # Whichever comes first: on a busy machine the time may be over before the memory is full.
    with pytest.raises(LimitExceeded, match=r"memory|processor time|2 s"):
        worker.ask(doubling, {}, Spent())
    assert worker.ask("1 + 1", {}, Spent()) == 2


@pytest.mark.parametrize(
    "text",
    ["!" * 1_990 + "true", "(" * 900 + "1" + ")" * 900, "[" * 900 + "]" * 900,
     "true?1:" * 280 + "1", "'a'.matches('((a{1000}){1000}){1000}')"],
)  # fmt: skip
def test_deep_texts_and_large_patterns_end(worker: Worker, text: str) -> None:
    try:
        worker.ask(text, {}, Spent())
    except (Refused, LimitExceeded) as error:
        assert str(error)
    assert worker.ask("1 + 1", {}, Spent()) == 2


def test_the_first_expression_does_not_pay_for_the_start(worker: Worker) -> None:
    first = Spent()
    worker.close()
    began = time.monotonic()
    worker.ask("1 + 1", {}, first)
    whole = time.monotonic() - began
    # Python takes tens of milliseconds to start, and all of it was before the question.
    assert first.seconds < whole / 2


def test_a_child_that_was_killed_is_replaced(worker: Worker) -> None:
    assert worker.ask("1 + 1", {}, Spent()) == 2
    first = worker.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert worker.ask("1 + 2", {}, Spent()) == 3
    assert worker.pid != first


def test_a_child_that_stands_still_is_replaced(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.ask("1 + 1", {}, Spent())
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    monkeypatch.setattr("runtime.cel.worker.WALL_SECONDS", 0.2)
    with pytest.raises(LimitExceeded, match=r"0\.2 s"):
        worker.ask("1 + 1", {}, Spent())
    monkeypatch.undo()
    assert worker.ask("1 + 1", {}, Spent()) == 2


def test_the_child_has_no_secrets_and_ends_with_its_router(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "canary")
    worker.ask("1 + 1", {}, Spent())
    assert Path(f"/proc/{worker.pid}/environ").read_bytes() == b""
    files = list(Path(f"/proc/{worker.pid}/fd").iterdir())
    assert len(files) == 3
    child = worker._child
    assert child is not None and child.stdin is not None
    child.stdin.close()
    assert child.wait(20) == 0


def test_a_plain_path_needs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = Worker()
    monkeypatch.setattr(expressions, "_evaluator", fresh)
    check("steps.a.output.list[0]")
    assert evaluate("steps.a.output.list[0]", steps(a={"list": [7]})) == 7
    assert fresh.pid is None


def test_only_what_is_named_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    class Recording:
        def ask(self, text: str, context: Any, spent: Spent) -> int:
            given.append(context)
            return 2

    monkeypatch.setattr(expressions, "_evaluator", Recording())
    context = {**steps(a={"n": 1}, big=list(range(400_000))), "item": 3, "index": 0}
    evaluate("1 + 1", context)
    evaluate("steps.a.output.n + item", context)
    assert given == [{}, {**steps(a={"n": 1}), "item": 3}]


def test_the_expressions_of_one_decision_have_a_limit_together(worker: Worker) -> None:
    assert worker.ask("1 + 1", {}, Spent(4.5)) == 2
    with pytest.raises(LimitExceeded, match="due together"):
        worker.ask("1 + 1", {}, Spent(5.0))


def test_decisions_after_costly_ones_get_less(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("runtime.clock.monotonic", lambda: now)
    reserve = Reserve()
    assert reserve.left_after(0) == 5.0
    reserve.use(50.0)
    assert reserve.left_after(0) == 0.05
    assert reserve.left_after(0.06) <= 0
    now = 1_000.0
    assert reserve.left_after(0) == 5.0


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("size(steps) > 1", "names each step that it looks at"),
        ("steps[plan.name].output == 1", "names each step that it looks at"),
        ("steps.gone.output == 1", "there is no step gone"),
        ("[1].map//\n(x, [1].map//\n(y, y)).size() > 0", "inside a comprehension"),
        ("1 +", "not a CEL expression"),
    ],
)
def test_admission_refuses(when: str, told: str) -> None:
    events = Simulation().submit({"steps": [
        {"id": "a", "tool": "noop"}, {"id": "b", "tool": "noop", "when": when},
    ]})  # fmt: skip
    assert events[-1]["type"] == "execution.rejected"
    assert told in str(events[-1]["data"])


@pytest.mark.parametrize("field", ["when", "for_each", "parameters", "compensate"])
def test_a_costly_expression_fails_its_step_only(field: str) -> None:
    simulation = Simulation()
    step: dict[str, Any] = {"id": "b", "tool": "noop", "on_failure": "continue"}
    wanted: dict[str, Any] = {
        "when": f"{GROWING} > 0",
        "for_each": "{{ [" + GROWING + "] }}",
        "parameters": {"value": "{{ " + GROWING + " }}"},
    }
    if field == "compensate":
        step["compensate"] = {"tool": "noop", "when": wanted["when"]}
    else:
        step[field] = wanted[field]
    last = {"id": "c", "tool": "noop", "on_failure": "compensate"}
    simulation.submit({"steps": [step, last]})
    if field == "compensate":
        simulation.run(simulation.take())
        simulation.fail(simulation.take())
    failed = [event for event in simulation.events if event["type"] == "step.failed"]
    errors = [event["data"]["error"]["class"] for event in failed]
    assert "expression_limit" in errors


def test_braces_of_a_program_are_written_as_an_expression() -> None:
    written = {"format": "{{ '{{' }}.State.Status}} of {{ steps.a.output.name }}"}
    rendered = render(written, steps(a={"name": "web {{ steps.a.output.list }}"}))
    assert rendered == {"format": "{{.State.Status}} of web {{ steps.a.output.list }}"}
