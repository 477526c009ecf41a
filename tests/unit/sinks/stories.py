"""Event logs of whole executions, as the router would write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from sinks.records import EventRow, Unreadable, read_event
from streams.ids import mint_execution_id

START = datetime(2026, 11, 20, 7, 0, tzinfo=UTC)


def execution_id(number: int = 0) -> str:
    """A different execution for each number, on different route keys."""
    return mint_execution_id(f"{number * 2654435761 % 2**32:08x}", 1_795_000_000_000, number)


class Story:
    """Writes down one execution, event by event, one second apart."""

    def __init__(self, number: int = 0, steps: int = 1, **accepted: Any) -> None:
        self.id = execution_id(number)
        self.values: list[bytes] = []
        self.steps = [f"s{index}" for index in range(steps)]
        plan = {
            "name": "a plan",
            "steps": [
                {
                    "id": name,
                    "tool": "noop",
                    "domain": "test",
                    "parameters": {"n": index},
                    "timeout_seconds": 5.0,
                    "lease_seconds": 15.0,
                    "max_attempts": 2,
                    "backoff_seconds": 1.0,
                    "max_backoff_seconds": 10.0,
                    "retry_safe": True,
                }
                for index, name in enumerate(self.steps)
            ],
        }
        self.add(
            "execution.accepted",
            **{
                "plan": plan,
                "plan_hash": "abc",
                "name": "a plan",
                "actor": "ci@acme",
                "environment": "dev",
                "idempotency_key": f"key-{number}",
                "sla_class": "fast",
                "mode": "immediate",
                "action_class": "read",
                "priority": 1,
                "timeout_seconds": 10.0,
                "sla_seconds": 10.0,
                "approval_level": 0,
                **accepted,
            },
        )

    def at(self, seq: int) -> datetime:
        """When event number `seq` happened."""
        return START + timedelta(seconds=seq - 1)

    def add(
        self, type: str, *, step: str | None = None, attempt: int | None = None, **data: Any
    ) -> Story:
        """The next event."""
        seq = len(self.values) + 1
        event: dict[str, Any] = {
            "execution_id": self.id,
            "seq": seq,
            "type": type,
            "at": self.at(seq).isoformat().replace("+00:00", "Z"),
            "tenant": "acme",
            "step": step,
            "attempt": attempt,
            "data": data,
        }
        self.values.append(
            orjson.dumps({name: value for name, value in event.items() if value is not None})
        )
        return self

    def dispatch(self, step: str, attempt: int = 1) -> Story:
        """The step's command goes out."""
        return self.add(
            "step.dispatched",
            step=step,
            attempt=attempt,
            tool="noop",
            domain="test",
            topic="steps.test",
            parameters={"n": 1, "filled": True},
            target="web-01",
            timeout_seconds=5.0,
            lease_seconds=15.0,
            expires_at="2026-11-20T08:00:00Z",
        )

    def claim(self, step: str, attempt: int = 1) -> Story:
        """An executor takes it."""
        return self.add("step.started", step=step, attempt=attempt, executor="agent-1")

    def succeed(self, step: str, attempt: int = 1, output: Any = None) -> Story:
        """It is done."""
        return self.add(
            "step.succeeded",
            step=step,
            attempt=attempt,
            duration_seconds=0.5,
            output={"ok": True} if output is None else output,
        )

    def fail(self, step: str, attempt: int = 1, *, final: bool = True) -> Story:
        """It went wrong."""
        error = {"class": "exit_code", "message": "exit code 2", "transient": not final}
        return self.add(
            "step.failed",
            step=step,
            attempt=attempt,
            duration_seconds=0.5,
            error=error,
            final=final,
        )

    def end(self, how: str = "completed", reason: str | None = None) -> Story:
        """The execution ends."""
        counts = {"succeeded": len(self.steps)}
        return self.add(f"execution.{how}", steps=counts, elapsed_seconds=3.5, reason=reason)

    def run(self) -> Story:
        """Everything goes well."""
        self.add("execution.queued").add("execution.started")
        for name in self.steps:
            self.dispatch(name).claim(name).succeed(name)
        return self.end()

    def rows(self) -> list[EventRow]:
        """The events as the sink decodes them."""
        return [decoded(value) for value in self.values]


def decoded(value: bytes) -> EventRow:
    """The row of an event that is well-formed."""
    row = read_event(value, None)
    assert not isinstance(row, Unreadable), row
    return row
