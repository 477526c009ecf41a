"""A router against a world that repeats, reorders, loses and restarts; the invariants hold."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from processors.router.evolve import accepted, evolve
from processors.router.state import ENDED, TRANSITIONS
from streams.lifecycle import STATUS_AFTER, TERMINAL_EVENTS
from streams.timestamps import unix
from tests.unit.router.simulation import Simulation

#: What may follow the end of an execution.
AFTER_THE_END = {"execution.duplicate", "step.late_result", "audit.decision"}


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(1, 5))
    steps = []
    for index in range(count):
        step: dict[str, Any] = {"id": f"s{index}", "tool": draw(st.sampled_from(["noop", "argv"]))}
        if step["tool"] == "argv":
            step["parameters"] = {"argv": ["true"]}
        if index and draw(st.booleans()):
            earlier = [f"s{number}" for number in range(index)]
            step["depends_on"] = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=2))
        step["on_failure"] = draw(st.sampled_from(["stop", "continue", "compensate"]))
        if draw(st.booleans()):
            step["compensate"] = {"tool": "noop"}
        if draw(st.integers(0, 4)) == 0:
            step["for_each"] = draw(st.lists(st.integers(0, 9), max_size=3))
        if draw(st.integers(0, 5)) == 0:
            step["when"] = draw(st.sampled_from(["1 == 1", "1 == 2"]))
        steps.append(step)
    return {"steps": steps, "approval_level": draw(st.sampled_from([0, 0, 0, 1]))}


class World(RuleBasedStateMachine):
    """Executors, operators and the clock, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.simulation = Simulation()
        self.requests: list[dict[str, Any]] = []
        self.sent: list[dict[str, Any]] = []

    @rule(plan=plans())
    def submit(self, plan: dict[str, Any]) -> None:
        request = {"idempotency_key": f"k{len(self.requests)}", "actor": "ann", "plan": plan}
        self.requests.append(request)
        self.simulation.submit(request)

    @rule(pick=st.integers(0, 1_000))
    def submit_again(self, pick: int) -> None:
        if self.requests:
            self.simulation.submit(self.requests[pick % len(self.requests)])

    def _command(self, pick: int) -> dict[str, Any] | None:
        simulation = self.simulation
        self.sent += simulation.commands
        simulation.commands.clear()
        return self.sent[-1 - pick % len(self.sent)] if self.sent else None

    @rule(pick=st.integers(0, 20), kind=st.sampled_from(["started", "heartbeat", "succeeded"]))
    def report(self, pick: int, kind: str) -> None:
        command = self._command(pick)
        if command is not None:
            self.simulation.report(kind, command)

    @rule(pick=st.integers(0, 3))
    def run(self, pick: int) -> None:
        command = self._command(pick)
        if command is not None:
            self.simulation.run(command, {"x": 1})

    @rule(pick=st.integers(0, 20), transient=st.booleans())
    def fail(self, pick: int, transient: bool) -> None:
        command = self._command(pick)
        if command is not None:
            self.simulation.fail(command, transient=transient)

    @rule(pick=st.integers(0, 20))
    def cancelled_report(self, pick: int) -> None:
        command = self._command(pick)
        if command is not None:
            self.simulation.report("cancelled", command, confirmed=True, evidence={})

    @rule(pick=st.integers(0, 20), reason=st.sampled_from(["expired", "cancelled", "invalid"]))
    def refuse(self, pick: int, reason: str) -> None:
        command = self._command(pick)
        if command is not None:
            self.simulation.report("refused", command, reason=reason, message="no")

    @rule(
        pick=st.integers(0, 1_000),
        kind=st.sampled_from(["cancel", "pause", "resume", "approve", "reject", "rerun"]),
    )
    def control(self, pick: int, kind: str) -> None:
        ids = list(self._log())
        if ids:
            self.simulation.control(kind, ids[pick % len(ids)])

    @rule(pick=st.integers(0, 20), outcome=st.sampled_from(["succeeded", "failed", "retry"]))
    def resolve(self, pick: int, outcome: str) -> None:
        command = self._command(pick)
        if command is not None:
            self.simulation.control(
                "resolve", command["execution_id"], step=command["step"], outcome=outcome
            )

    @rule(seconds=st.sampled_from([0.5, 5, 20, 90, 400]))
    def wait(self, seconds: float) -> None:
        self.simulation.wait(seconds)

    @rule()
    def restart(self) -> None:
        self.simulation.restart()

    def _log(self) -> dict[str, list[dict[str, Any]]]:
        log: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for event in self.simulation.events:
            log[event["execution_id"]].append(event)
        return log

    @invariant()
    def numbers_have_no_gap(self) -> None:
        for events in self._log().values():
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))

    @invariant()
    def the_end_comes_once_and_is_the_end(self) -> None:
        for events in self._log().values():
            kinds = [event["type"] for event in events]
            ends = [index for index, kind in enumerate(kinds) if kind in TERMINAL_EVENTS]
            assert len(ends) <= 1, kinds
            if ends:
                assert set(kinds[ends[0] + 1 :]) <= AFTER_THE_END, kinds

    @invariant()
    def no_attempt_is_dispatched_or_started_twice(self) -> None:
        for events in self._log().values():
            for kind in ("step.dispatched", "step.started"):
                seen = [(e["step"], e["attempt"]) for e in events if e["type"] == kind]
                assert len(seen) == len(set(seen))

    @invariant()
    def the_log_is_the_state(self) -> None:
        memory = self.simulation.partition.memory
        for execution_id, events in self._log().items():
            execution = memory.executions.get(execution_id)
            if execution is None or events[0]["type"] != "execution.accepted":
                continue
            folded = accepted(events[0], unix(events[0]["at"]))
            for event in events[1:]:
                before = folded.status
                evolve(folded, event, unix(event["at"]))
                if event["type"] in STATUS_AFTER and folded.status != before:
                    legal = TRANSITIONS[before] | {"pending_approval"}
                    assert folded.status in legal
            assert folded.status == execution.status
            assert folded.seq == execution.seq
            assert folded.open_steps == execution.open_steps
            for name, step in folded.steps.items():
                real = execution.steps[name]
                assert (step.status, step.attempt, step.in_flight, step.output) == (
                    real.status,
                    real.attempt,
                    real.in_flight,
                    real.output,
                )

    def teardown(self) -> None:
        """Left alone with willing executors and an operator, everything ends."""
        simulation = self.simulation
        for _ in range(60):
            for execution in list(simulation.partition.memory.executions.values()):
                if execution.status == "paused":
                    simulation.control("resume", execution.id)
                if execution.status == "pending_approval":
                    simulation.control("approve", execution.id, actor="bob")
                for step in list(execution.steps.values()):
                    if step.status == "needs_attention":
                        simulation.control("resolve", execution.id, step=step.id, outcome="failed")
            while simulation.commands:
                simulation.run(simulation.take(), {"x": 1})
            simulation.wait(120)
            if all(e.status in ENDED for e in simulation.partition.memory.executions.values()):
                return
        stuck = {
            e.id: (e.status, [(s.id, s.status, s.in_flight) for s in e.steps.values()])
            for e in simulation.partition.memory.executions.values()
            if e.status not in ENDED
        }
        raise AssertionError(stuck)


World.TestCase.settings = settings(
    max_examples=200,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestWorld = World.TestCase
