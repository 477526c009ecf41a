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

    def lock(self, step: str, tokens: dict[str, int]) -> Story:
        """It gets what the step locks; the event is the execution's, and its data name the step."""
        self.add("lock.acquired", tokens=tokens, lease_seconds=60.0)
        event = orjson.loads(self.values[-1])
        event["data"]["step"] = step
        self.values[-1] = orjson.dumps(event)
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


def mixed(stories: list[Story]) -> list[bytes]:
    """The events of all stories, taking turns."""
    longest = max(len(story.values) for story in stories)
    return [s.values[i] for i in range(longest) for s in stories if i < len(s.values)]


def troubled(number: int) -> Story:
    """An execution with a bit of everything."""
    story = Story(number, steps=3)
    story.add("execution.queued").add("execution.started")
    story.dispatch("s0").claim("s0").fail("s0", final=False)
    story.add(
        "step.retry_scheduled", step="s0", attempt=1, next_attempt=2, max_attempts=2,
        delay_seconds=1.0, at="2026-11-20T07:01:00Z",
    )  # fmt: skip
    story.dispatch("s0", 2).claim("s0", 2).succeed("s0", 2)
    story.add("execution.paused", actor="ann", reason="lunch")
    story.add("execution.resumed", actor="ann", status="queued")
    story.add("step.expanded", step="s1", items=2, steps=["s1[0]", "s1[1]"], values=[1, 2])
    for name in ("s1[0]", "s1[1]"):
        story.dispatch(name).claim(name).succeed(name)
    story.succeed("s1")
    story.dispatch("s2").claim("s2")
    story.add("step.progress", step="s2", attempt=1, percent=40.0, message="half way")
    story.fail("s2", final=False)
    story.dispatch("s2", 2)
    story.add("step.cancel_requested", step="s2", attempt=2, reason="timed_out")
    story.claim("s2", 2)
    story.add("step.waiting", step="s2", attempt=2, reason="target_limit", message="busy")
    story.add("step.resumed", step="s2", attempt=2)
    story.fail("s2", 2, final=False).dispatch("s2", 3).claim("s2", 3).fail("s2", 3)
    story.add("step.compensation_scheduled", step="s0", by="s0.undo", tool="noop")
    story.dispatch("s0.undo").claim("s0.undo").succeed("s0.undo")
    story.add("step.compensated", step="s0", by="s0.undo")
    story.add("audit.decision", actor="ann", action="cancel", allowed=False, message="not yours")
    return story.end("partial")
