"""Which event answers which command."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from streams.answers import verdict
from streams.commands import CONTROL_COMMAND, AnyCommand
from streams.events import Event, decode_event

IDENT = "01a1f7c1-4180-8a94-9234-56783662e997"
OTHER = "01a1f7ca-6940-8000-8765-43213662e997"


def event(kind: str, *, ident: str = IDENT, step: str | None = None, **data: Any) -> Event:
    example = json.loads(files("streams").joinpath("examples", f"event.{kind}.json").read_bytes())
    example |= {"execution_id": ident, "data": {**example["data"], **data}}
    document = {**example, "step": step or example.get("step")}
    return decode_event(json.dumps(document).encode())


def command(kind: str, **fields: Any) -> AnyCommand:
    given = {"type": kind, "execution_id": IDENT, "actor": "olga@acme", **fields}
    return CONTROL_COMMAND.validate_python(given)


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("cancel", "execution.cancel_requested"),
        ("cancel", "execution.cancelled"),
        ("approve", "execution.approved"),
        ("approve", "execution.approval_given"),
        ("reject", "execution.rejected"),
        ("pause", "execution.paused"),
        ("resume", "execution.resumed"),
    ],
)
def test_what_follows_is_the_answer(kind: str, answer: str) -> None:
    found = verdict(command(kind), event(answer))
    assert found is not None
    assert found.allowed
    assert verdict(command(kind), event(answer, ident=OTHER)) is None
    assert verdict(command(kind), event("execution.started")) is None


def test_a_refusal_comes_with_its_reason() -> None:
    refusal = event("audit.decision", actor="olga@acme", action="approve", message="too late")
    found = verdict(command("approve"), refusal)
    assert found is not None
    assert (found.allowed, found.message) == (False, "too late")
    assert verdict(command("cancel"), refusal) is None
    assert verdict(command("approve", actor="someone"), refusal) is None


def test_resolve_is_answered_for_its_own_step() -> None:
    asked = command("resolve", step="disk", outcome="succeeded")
    assert verdict(asked, event("step.succeeded", step="tell")) is None
    found = verdict(asked, event("step.succeeded", step="disk"))
    assert found is not None
    assert found.allowed


def test_a_rerun_is_answered_by_the_new_execution() -> None:
    asked = command("rerun", new_execution_id=OTHER)
    assert verdict(asked, event("execution.accepted", ident=OTHER)) is None
    found = verdict(asked, event("execution.accepted", ident=OTHER, rerun_of=IDENT))
    assert found is not None
    assert found.event.execution_id == OTHER
    refused = verdict(asked, event("execution.rejected", ident=OTHER))
    assert refused is not None
    assert not refused.allowed
