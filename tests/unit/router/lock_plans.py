"""Plans whose steps change assets, and the events of one execution among several."""

from __future__ import annotations

from typing import Any

from tests.unit.router.simulation import Simulation


def change(*assets: str, **more: Any) -> dict[str, Any]:
    """A step that may change these assets."""
    return {"tool": "argv", "parameters": {"argv": ["true"]}, "assets": list(assets), **more}


def submit(simulation: Simulation, key: str, *steps: dict[str, Any], **plan: Any) -> str:
    """Submit a plan; returns its execution id."""
    request = {"idempotency_key": key, "actor": "ann", "plan": {"steps": list(steps), **plan}}
    accepted = simulation.submit(request)[0]
    assert accepted["type"] == "execution.accepted", accepted
    found: str = accepted["execution_id"]
    return found


def of(simulation: Simulation, execution_id: str, kind: str = "") -> list[dict[str, Any]]:
    """The events of an execution, all or of one type."""
    return [
        event for event in simulation.events
        if event["execution_id"] == execution_id and kind in ("", event["type"])
    ]  # fmt: skip
