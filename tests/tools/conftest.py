"""Running one tool for real: a plan of one step through the broker, the router and an executor."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.harness import PATIENCE_SECONDS, Harness
from tests.tools.fakes.program import FakeProgram, FakePrograms, install, remove
from tests.tools.planned import planned

#: Every tool that an executor really ran in this session and that succeeded.
REALLY_EXECUTED: set[str] = set()


@dataclass(frozen=True)
class Result:
    """How the step ended: its last status, its output, and the error where there is one."""

    status: str
    output: dict[str, Any]
    error: dict[str, Any]
    events: list[dict[str, Any]] = field(repr=False)

    @property
    def error_class(self) -> str:
        """The stable class of the error, empty where there is none."""
        return str(self.error.get("class", ""))


class Execute:
    """Submits a plan of one step as a foreign producer does, and waits for its end."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness

    def __call__(
        self,
        tool: str,
        parameters: dict[str, Any] | None = None,
        tenant: str = "default",
        **step: Any,
    ) -> Result:
        """Run a tool; `step` holds further fields of the step, `retry` is one attempt.

        A secret may be given as it is: the plan then holds a reference to it.
        """
        key = uuid.uuid4().hex
        plan = {
            "name": f"tool {tool}",
            "timeout_seconds": 120,
            "steps": [
                {
                    "id": "it",
                    "tool": tool,
                    "parameters": planned(tool, parameters or {}),
                    "retry": {"max_attempts": 1},
                    **step,
                }
            ],
        }
        request = {"idempotency_key": key, "tenant": tenant, "plan": plan}
        self._harness.produce(orjson.dumps(request))
        self._harness.flush()
        execution_id = self._wait(key)
        events = self._harness.log.events[execution_id]
        rejected = next((e for e in events if e["type"] == "execution.rejected"), None)
        if rejected is not None:
            raise AssertionError(f"{tool}: rejected: {rejected['data']['message']}")
        last = [event for event in events if event.get("step") == "it"][-1]
        result = Result(
            last["type"].removeprefix("step."),
            last["data"].get("output") or {},
            last["data"].get("error") or {},
            events,
        )
        if result.status == "succeeded":
            REALLY_EXECUTED.add(tool)
        return result

    def _wait(self, key: str) -> str:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            for execution_id, events in self._harness.log.events.items():
                first = events[0]["data"]
                if first.get("idempotency_key") == key and self._harness.log.ends(execution_id):
                    return execution_id
            assert time.monotonic() < deadline, "the plan did not end"
            self._harness.read(0.05)


@pytest.fixture
def execute(harness: Harness) -> Iterator[Execute]:
    """Runs tools through the whole system."""
    yield Execute(harness)


@pytest.fixture
def fake_program(stack: tuple[object, Path]) -> Iterator[FakePrograms]:
    """Puts fake programs on the executor's PATH for one test; see tests/tools/fakes/program.py."""
    before = frozenset(REALLY_EXECUTED)
    made: list[FakeProgram] = []

    def make(name: str, **reply: Any) -> FakeProgram:
        made.append(install(stack[1].parent / "fakes", name, **reply))
        return made[-1]

    yield make
    for program in made:
        remove(program)
    # What a fake answered was not really executed.
    REALLY_EXECUTED.intersection_update(before)
