"""Sink, projector and console say the same of every execution: what `streams.lifecycle` says."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant

from console.view import ExecutionView
from processors.progress.fold import fold as fold_progress
from processors.progress.state import Progress
from sinks.records import EventRow
from sinks.rows import fold as fold_rows
from sinks.rows import refold
from streams.events import Event
from streams.ids import event_id
from streams.lifecycle import HELD, execution_status, step_status
from streams.payloads import Accepted, CompensationScheduled, Expanded
from streams.waits import STEP_WAITS
from tests.unit.progress.histories import histories
from tests.unit.router.test_machine import World

Statuses = tuple[str | None, dict[str, str]]


class Lifecycle:
    """The statuses of one execution, from the lifecycle alone."""

    def __init__(self) -> None:
        self.status: str | None = None
        self.steps: dict[str, str] = {}

    def apply(self, event: Event) -> None:
        self.status = execution_status(self.status, event)
        match event.data:
            case Accepted() as data:
                carried = data.carried or {}
                for step in data.plan.roots:
                    self.steps[step.id] = "succeeded" if step.id in carried else "pending"
            case Expanded(steps=children):
                for child in children:
                    self.steps.setdefault(child, "pending")
            case CompensationScheduled(by=by):
                self.steps.setdefault(by, "pending")
        if event.step is not None:
            before = self.steps.get(event.step, "pending")
            self.steps[event.step] = step_status(before, event)


class Tables:
    """What the tables hold of statuses after any number of batches."""

    def __init__(self) -> None:
        self.status: str | None = None
        self.steps: dict[str, str] = {}

    def store(self, batch: list[Event]) -> None:
        """As the upserts do: a status that a patch does not have stays as it is."""
        cancelling = {
            (event.execution_id, name)
            for event in batch
            for name, status in self.steps.items()
            if status == "cancelling"
        }
        found = fold_rows(rows(batch), cancelling=cancelling)
        assert not found.rebuild
        for patch in found.patches.executions.values():
            self.status = patch.get("status") or self.status
        for (_, name), patch in found.patches.steps.items():
            self.steps[name] = patch.get("status") or self.steps[name]


def rows(events: Iterable[Event]) -> list[EventRow]:
    return [EventRow(event_id(event.execution_id, event.seq), event, "{}") for event in events]


class Agreement:
    """All folds of one execution, event by event, and the tables batch by batch."""

    def __init__(self, execution_id: str) -> None:
        self.events: list[Event] = []
        self.expected = Lifecycle()
        self.view = ExecutionView(execution_id)
        self.progress: Progress | None = None
        self.tables = Tables()

    def add(self, batch: list[Event]) -> None:
        for event in batch:
            self.expected.apply(event)
            self.view.apply(event)
            self.progress = fold_progress(self.progress, event)
            assert self.progress is not None
            expected = (self.expected.status, self.expected.steps)
            seen = {name: step.status for name, step in self.view.steps.items()}
            shown = {name: step.status for name, step in self.progress.steps.items()}
            assert (self.view.status, seen) == expected, event
            assert (self.progress.status, shown) == expected, event
            waits = {name: step.wait for name, step in self.view.steps.items()}
            assert waits == {name: step.wait for name, step in self.progress.steps.items()}
            assert self.view.wait == self.progress.wait, event
        self.tables.store(batch)
        assert (self.tables.status, self.tables.steps) == expected
        self.events += batch

    def every_wait_says_why(self) -> None:
        """Whatever waits has a reason; nothing else has one."""
        held = self.view.status in HELD
        assert (self.view.wait is not None) is held, (self.view.status, self.events[-1])
        for step in self.view.steps.values():
            waits = step.status in STEP_WAITS
            assert (step.wait is not None) is waits, (step.status, self.events[-1])

    def rebuilt(self) -> None:
        """Tables that are made from the whole log at once say the same."""
        patches = refold(rows(self.events))
        (execution,) = patches.executions.values()
        steps = {name: patch["status"] for (_, name), patch in patches.steps.items()}
        assert (execution["status"], steps) == (self.expected.status, self.expected.steps)
        queued = {(step, row["status"]) for (_, step, _), row in patches.queue.items() if row}
        out = {"dispatched", "waiting", "running", "cancelling"}
        assert {status for _, status in queued} <= out
        for step, status in queued:
            # An attempt that is out has the status of its step.
            assert self.expected.steps[step] == status


@given(histories(), st.data())
def test_every_history_reads_the_same_everywhere(events: list[Event], data: st.DataObject) -> None:
    agreement = Agreement(events[0].execution_id)
    at = 0
    while at < len(events):
        size = data.draw(st.integers(1, 6))
        agreement.add(events[at : at + size])
        at += size
    agreement.rebuilt()


class Readers(World):
    """Everything that a router writes, read by everybody."""

    def __init__(self) -> None:
        super().__init__()
        self.agreements: dict[str, Agreement] = {}
        self.read = 0

    @invariant()
    def everybody_says_the_same(self) -> None:
        fresh = self.simulation.log[self.read :]
        self.read += len(fresh)
        for ident in dict.fromkeys(event.execution_id for event in fresh):
            agreement = self.agreements.setdefault(ident, Agreement(ident))
            agreement.add([event for event in fresh if event.execution_id == ident])
            agreement.every_wait_says_why()

    def teardown(self) -> None:
        super().teardown()
        self.everybody_says_the_same()
        for agreement in self.agreements.values():
            agreement.rebuilt()


Readers.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
TestEverythingThatARouterWrites = Readers.TestCase
