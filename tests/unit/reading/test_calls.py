"""What a plan would do to which hosts, before it runs."""

from __future__ import annotations

from typing import Any

from reading.calls import Calls, calls_of
from streams.admitted import decode_plan
from toolmeta import registry

TOOLS = registry.load()
_LIMITS = {
    "timeout_seconds": 30.0, "lease_seconds": 60.0, "max_attempts": 1, "backoff_seconds": 1.0,
    "max_backoff_seconds": 1.0, "retry_safe": True,
}  # fmt: skip


def step(name: str, tool: str, **fields: Any) -> dict[str, Any]:
    """An admitted step."""
    given = {"parameters": {}, "target": ["host"], **fields}
    return {"id": name, "tool": tool, "domain": "automation", **_LIMITS, **given}


def told(*steps: dict[str, Any], finally_steps: tuple[dict[str, Any], ...] = ()) -> Calls:
    """The calls of a plan of these steps."""
    plan = {"name": "p", "steps": [*steps], "finally_steps": [*finally_steps]}
    return calls_of(decode_plan(plan), TOOLS)


def by_host(calls: Calls) -> dict[str | None, tuple[int, int, int]]:
    """Reads, changes and destructions of each host."""
    return {one.host: (one.read, one.modify, one.destroy) for one in calls.hosts}


def test_effects_are_counted_by_host() -> None:
    calls = told(
        step("look", "df", parameters={"host": "WEB-01."}),
        step("each", "df", parameters={"host": "{{ item }}"}, for_each=["web-01", "web-02"]),
        step("later", "df", parameters={"host": "{{ item }}"}, for_each="steps.look.output.x"),
        step("here", "df"),
    )
    assert by_host(calls) == {
        "web-01": (2, 0, 0), "web-02": (1, 0, 0), None: (1, 0, 0), "localhost": (1, 0, 0)
    }  # fmt: skip
    assert (calls.effects.read, calls.effects.modify) == (5, 0)
    assert [call.items for call in calls.calls] == [1, 2, None, 1]


def test_blocks_compensations_and_unknown_tools() -> None:
    inner = step("drain", "no_such_tool", parameters={"host": "web-01"})
    calls = told(
        step("roll", "block", for_each=["a", "b", "c"], steps=[inner]),
        finally_steps=(step("end", "df", compensate=step("end", "df")),),
    )
    assert [(call.field, call.effect, call.items) for call in calls.calls] == [
        ("plan.steps[0].steps[0]", "destroy", 3),
        ("plan.finally[0]", "read", 1),
        ("plan.finally[0].compensate", "read", 1),
    ]
    # What only undoes is not counted; what nobody knows any more counts as the worst.
    assert (calls.effects.destroy, calls.effects.read) == (3, 1)
    assert calls.hosts[0].host == "web-01"
