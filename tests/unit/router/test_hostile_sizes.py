"""What one large request costs the router: a time and memory that grow with its size, no faster."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from processors.router import attempts
from processors.router.admission import admit
from processors.router.request_decoder import decode_request
from processors.router.resolution import Readable
from runtime.cel import expressions
from runtime.cel.evaluation import Spent
from tests.unit.router.simulation import Simulation, kinds
from toolmeta import registry
from toolmeta.secret_references import TooManyPlaces, pointers

KIB = 1024
URL = "https://web.example.org"


def post(**parameters: Any) -> dict[str, Any]:
    given = {"url": URL, "method": "POST", **parameters}
    return {"steps": [{"tool": "curl", "parameters": given}]}


#: A plan of about so many bytes, each with a value that once took a time by its square, or memory
#: by it, or too long for each of its bytes.
PLANS: dict[str, Callable[[int], dict[str, Any]]] = {
    "braces in a body": lambda n: post(body="{{" * (n // 2)),
    "braces in json": lambda n: post(json={"a": ["{{" * (n // 2)]}),
    "braces in a header": lambda n: post(headers={"x": "{{ a }}" + "{{" * (n // 2)}),
    "braces to undo": lambda n: {
        "steps": [{"tool": "noop", "compensate": post(body="{{" * (n // 2))["steps"][0]}]
    },
    "braces of an item": lambda n: {"steps": [{"tool": "noop", "for_each": ["{{" * (n // 2)]}]},
    "braces for items": lambda n: {"steps": [{"tool": "noop", "for_each": "{{" * (n // 2)}]},
    "expressions": lambda n: post(body="{{ steps.x.output }}" * (n // 20)),
    "a long name above all": lambda n: post(json={"k" * (n // 2): [0] * (n // 4)}),
    "a long name above what no table holds": lambda n: post(
        json={"k" * (n // 2): ["\0"] * (n // 16)}
    ),
    "a long name above secrets": lambda n: post(
        json={"k" * (n // 2): [{"type": "secret", "path": "env/A"}] * (n // 80)}
    ),
    "unknown parameters": lambda n: {
        "steps": [{"tool": "curl", "parameters": {f"p{i}": 1 for i in range(n // 10)}}]
    },
    "unknown tools": lambda n: {"steps": [{"tool": f"zz{i}"} for i in range(min(999, n // 16))]},
    "steps that are none": lambda n: {"steps": [1] * (n // 2)},
    "names that are none": lambda n: {"steps": [{"tool": "noop", "depends_on": ["!"] * (n // 4)}]},
    "addresses": lambda n: post(body="://a:" * (n // 5)),
    "spaces": lambda n: {"steps": [{"tool": "df", "parameters": {"host": "{{" + " " * n + "}}"}}]},
    "digits": lambda n: post(body=":" + "1." * (n // 2) + " 1e999 NaN"),
}


def cost(plan: dict[str, Any]) -> float:
    """Seconds of processor time from the bytes to the decision; the best of two."""
    raw = orjson.dumps(plan)
    catalogue = registry.load()
    best = float("inf")
    for _ in range(2):
        began = time.process_time()
        found = decode_request(raw)
        if isinstance(found, Readable):
            admit(found.request, found.plan_hash, "key", catalogue)
        best = min(best, time.process_time() - began)
        if best > 1:
            break
    return best


@pytest.mark.parametrize("name", PLANS)
def test_the_time_of_admission_grows_with_the_size_of_the_request(name: str) -> None:
    small = cost(PLANS[name](64 * KIB))
    assert small < 0.5
    large = cost(PLANS[name](256 * KIB))
    assert large < 1.0
    # Four times the size; a square would be sixteen times the time.
    assert large < 10 * small + 0.05


def test_a_for_each_text_is_no_longer_than_an_expression() -> None:
    (event,) = Simulation().submit(PLANS["braces for items"](500 * KIB))
    assert event["data"]["reason"] == "invalid"
    assert event["data"]["problems"][0]["field"] == "plan.steps[0].for_each"
    assert "2100" in event["data"]["message"]


def test_every_reference_of_a_text_is_found() -> None:
    found = expressions.references("{{ a }}{{b}} {{{{ c }} }} {{ d\n}} {{}} {{ e")
    assert list(found) == ["a", "b", "{{ c", "d", ""]


@pytest.mark.parametrize("text", ["{{ a //}}\n + b }}", "{{ a }} }}", "{{ a }}{{ b }}", "{{ a }}x"])
def test_only_what_was_checked_is_evaluated(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text is one reference where its first one is all of it, and no more than that is CEL."""
    asked: list[str] = []

    class Asked:
        def ask(self, given: str, context: dict[str, Any] | None, spent: Spent) -> Any:
            asked.append(given)
            return "v"

    monkeypatch.setattr(expressions, "_evaluator", Asked())
    rendered = expressions.render(text, {"a": "v", "b": "v"})
    assert set(asked) <= set(expressions.references(text))
    assert rendered != "v"


def test_one_output_at_thousands_of_places_is_too_large() -> None:
    """Together these are gigabytes, of which the first half a megabyte is made."""
    simulation = Simulation()
    many = ["{{ steps.a.output }}"] * 15_000
    undo = {"tool": "curl", "id": "b", "parameters": {"url": URL, "method": "POST", "json": many}}
    simulation.submit({"steps": [{"tool": "noop", "id": "a"}, undo]})
    command = simulation.take()
    tracemalloc.start()
    events = simulation.run(command, {"text": "x" * 200 * KIB})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert kinds(events)[-1] == "execution.partial"
    failed = next(event for event in events if event["type"] == "step.failed")
    assert failed["data"]["error"]["class"] == "too_large"
    assert peak < 64 * KIB * KIB


def test_references_of_all_items_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty thousand references fit into a request; each of two thousand items would have all."""
    monkeypatch.setattr(expressions, "MAX_LOOKUPS", 500)
    simulation = Simulation()
    step = {
        "tool": "curl",
        "parameters": {"url": URL, "method": "POST", "body": "{{ index }}" * 100},
        "for_each": list(range(10)),
        "on_failure": "continue",
    }
    events = simulation.submit({"steps": [step]})
    limited = [
        event
        for event in events
        if event["type"] == "step.failed" and event["data"]["error"]["class"] == "expression_limit"
    ]
    assert len(limited) == 5


@pytest.mark.parametrize("text", ["x", "{{ index }}"])
def test_what_one_record_sends_is_bounded(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request of a quarter of a megabyte would become gigabytes of commands and events."""
    monkeypatch.setattr(attempts, "MAX_DISPATCH_BYTES", 4 * 10_000)
    step = {
        "tool": "curl",
        "parameters": {"url": URL, "method": "POST", "body": text + "x" * 9_000},
        "for_each": list(range(10)),
        "on_failure": "continue",
    }
    simulation = Simulation()
    events = simulation.submit({"steps": [step]})
    assert len(simulation.commands) == 4
    failed = [event["data"]["error"] for event in events if event["type"] == "step.failed"]
    assert [error["class"] for error in failed] == ["too_large"] * 6
    assert "max_parallel" in failed[0]["message"]
    few = Simulation()
    few.submit({"steps": [{**step, "max_parallel": 3}]})
    while few.commands:
        ended = few.run(few.take())
    assert kinds(ended)[-1] == "execution.completed"


def test_pointers_take_no_more_memory_than_what_they_point_to() -> None:
    value = {"k" * 200_000: [0] * 19_000}
    tracemalloc.start()
    assert pointers(value) == ()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * KIB * KIB
    with pytest.raises(TooManyPlaces):
        pointers({"k" * 200_000: [{"type": "secret", "path": "env/A"}]})
