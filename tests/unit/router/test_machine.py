"""A router against a world that repeats, reorders, loses and restarts; the invariants hold."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from console.chain_check import Checked, Rules, check, linked
from processors.router.evolve import accepted, evolve
from processors.router.state import Execution, StepState
from processors.router.store import Restorer, StateStore
from streams.events import encode_event
from streams.lifecycle import ASIDES, ENDED, TERMINAL_EVENTS
from streams.limits import MAX_OUTPUT_BYTES
from streams.lock_payloads import LockAcquired, LockEnded
from streams.payloads import Dispatched
from tests.unit.router.simulation import Simulation

#: Never written down: leases and progress, and what follows from plan and steps.
DERIVED = {
    *("lease_until", "progress", "progress_at", "heard_at", "held_at", "specs", "dependents"),
    *("lock_needs", "renew_at"),
}
STEP_FIELDS = [item.name for item in fields(StepState) if item.name not in DERIVED]
HEAD_FIELDS = [item.name for item in fields(Execution) if item.name not in {*DERIVED, "steps"}]

OUTPUTS = st.sampled_from([
    None, {}, {"x": 1}, {"changed": False}, {"changed": False, "x": 1},
    {"created": True, "list": [1, 2, 3]},
    {"list": ["a", "b"], "x": 2}, {"text": "y" * 50_000},
    {"text": "z" * (MAX_OUTPUT_BYTES - 64)}, {"list": ["w" * 16_000] * 14},
])  # fmt: skip


#: A call of `argv` locks the assets that its step names.
ASSETS = st.lists(st.sampled_from(["web-01", "web-02", "db-01"]), max_size=2, unique=True)
KINDS = ["started", "heartbeat", "succeeded", "waiting", "resumed"]


def comparable(execution: Execution) -> dict[str, Any]:
    """Everything of an execution that is written down."""
    steps = {
        name: [getattr(step, field) for field in STEP_FIELDS]
        for name, step in execution.steps.items()
    }
    return {"steps": steps, **{field: getattr(execution, field) for field in HEAD_FIELDS}}


def step(draw: st.DrawFn, index: int, undo: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"id": f"s{index}", "tool": draw(st.sampled_from(["noop", "argv"]))}
    if made["tool"] == "argv":
        made["parameters"] = {"argv": ["true"]}
        made["assets"] = draw(ASSETS)
    elif index and draw(st.booleans()):
        part = draw(st.sampled_from(["", ".x", ".list", ".list[0]", ".text"]))
        reference = f"{{{{ steps.s{draw(st.integers(0, index - 1))}.output{part} }}}}"
        made["parameters"] = {"value": draw(st.sampled_from([reference, [reference] * 8]))}
    made["on_failure"] = draw(st.sampled_from(["stop", "continue", "compensate"]))
    if undo:
        made["on_failure"] = "compensate"
    if undo or draw(st.booleans()):
        made["compensate"] = {"tool": "noop"}
        if draw(st.integers(0, 3)) == 0:
            made["compensate"] = {"tool": "argv", "parameters": {"argv": ["true"]}}
        if draw(st.integers(0, 3)) == 0:
            made["compensate"]["when"] = draw(st.sampled_from(["true", "false", "output.x == 1"]))
    if draw(st.integers(0, 4)) == 0:
        made["for_each"] = draw(st.lists(st.integers(0, 9), max_size=3))
        if index and draw(st.booleans()):
            made["for_each"] = f"steps.s{draw(st.integers(0, index - 1))}.output.list"
    if draw(st.integers(0, 5)) == 0:
        made["when"] = draw(st.sampled_from(["1 == 1", "1 == 2"]))
    if "for_each" in made and draw(st.booleans()):
        made["max_failures"] = draw(st.sampled_from([0, 1, "50%"]))
        made["max_parallel"] = draw(st.integers(1, 2))
    if draw(st.integers(0, 5)) == 0:
        wanted = draw(st.sampled_from(["output != null", "output == {'x': 1}"]))
        retry = draw(st.booleans())
        made["check"] = {"condition": wanted, "retry": retry}
    if draw(st.integers(0, 5)) == 0:
        made["until"] = {"condition": "output == {'x': 1}", "interval_seconds": 5, "limit": 3}
    return made


def block(draw: st.DrawFn, index: int, undo: bool) -> dict[str, Any]:
    """A block of one to three steps, one of which may be a block or an assertion."""
    inner = []
    for number in range(draw(st.integers(1, 3))):
        made = {**step(draw, 0, undo), "id": f"s{index}i{number}"}
        kind = draw(st.integers(0, 5))
        if kind == 0:
            nested = {**step(draw, 0, undo), "id": f"s{index}i{number}n"}
            made = {"id": made["id"], "steps": [nested]}
        elif kind == 1:
            made = {"id": made["id"], "assert": draw(st.sampled_from(["true", "index < 1"]))}
        inner.append(made)
    whole: dict[str, Any] = {"id": f"s{index}", "steps": inner}
    if draw(st.booleans()):
        whole["for_each"] = draw(st.lists(st.integers(0, 9), max_size=3))
        whole["max_parallel"] = draw(st.integers(1, 3))
        if draw(st.booleans()):
            whole["max_failures"] = draw(st.sampled_from([0, 1, "50%"]))
    whole["on_failure"] = draw(st.sampled_from(["stop", "continue", "compensate"]))
    return whole


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Up to 40 steps, mostly few: in list order, or as a graph."""
    count = draw(st.one_of(st.integers(1, 5), st.integers(6, 40)))
    undo = draw(st.booleans())
    makers = [block if draw(st.integers(0, 4)) == 0 else step for _ in range(count)]
    steps = [make(draw, index, undo) for index, make in enumerate(makers)]
    if draw(st.booleans()):
        for index, made in enumerate(steps):
            earlier = [f"s{number}" for number in range(index)]
            made["depends_on"] = earlier[-draw(st.integers(1, 3)) :]
        text = repr(steps)
        if "steps.s" in text:  # a reference needs what it refers to before it
            for index, made in enumerate(steps):
                made["depends_on"] = [f"s{number}" for number in range(index)]
    plan = {"steps": steps, "approval_level": draw(st.sampled_from([0, 0, 0, 1]))}
    if draw(st.integers(0, 2)) == 0:
        last = [{**step(draw, 0, undo=False), "id": f"f{number}"} for number in range(2)]
        for made in last:
            made.pop("compensate", None)
        plan["finally"] = last
    return plan


class World(RuleBasedStateMachine):
    """Executors, operators and the clock, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.simulation = Simulation()
        self.requests: list[dict[str, Any]] = []
        self.sent: list[dict[str, Any]] = []
        self.folded: dict[str, Execution] = {}
        self.open: list[dict[str, Any]] = []
        self.opened = 0
        self.folded_events = self.checked_events = 0
        self.seen: dict[str, int] = {}
        self.checked: dict[str, Checked] = {}
        self.ended: set[str] = set()
        self.attempts: set[tuple[Any, ...]] = set()
        #: asset -> its holder, and the highest token, by the events.
        self.held: dict[str, str] = {}
        self.tokens: dict[str, int] = {}
        self.locked_events = 0

    @initialize(plan=plans())
    def submit_first(self, plan: dict[str, Any]) -> None:
        self.submit(plan)

    @rule(plan=plans())
    def submit(self, plan: dict[str, Any]) -> None:
        """A request; its plan is one that is admitted."""
        request = {"idempotency_key": f"k{len(self.requests)}", "actor": "ann", "plan": plan}
        self.requests.append(request)
        assert self.simulation.submit(request)[0]["type"] == "execution.accepted"

    @rule(pick=st.integers(0, 1_000))
    def submit_again(self, pick: int) -> None:
        if self.requests:
            self.simulation.submit(self.requests[pick % len(self.requests)])

    def _command(self, pick: int) -> dict[str, Any] | None:
        simulation = self.simulation
        self.sent += simulation.commands
        simulation.commands.clear()
        return self.sent[-1 - pick % len(self.sent)] if self.sent else None

    @rule(pick=st.integers(0, 20), kind=st.sampled_from(KINDS))
    def report(self, pick: int, kind: str) -> None:
        command = self._command(pick)
        if command is not None:
            held = {"reason": "target_limit", "message": "busy"} if kind == "waiting" else {}
            self.simulation.report(kind, command, **held)

    def _open(self, pick: int) -> dict[str, Any] | None:
        """A command that nobody has ended, if there is one."""
        self._command(0)
        self.open += self.sent[self.opened :]
        self.opened = len(self.sent)
        return self.open.pop(-1 - pick % len(self.open)) if self.open else None

    @rule(pick=st.integers(0, 3), output=OUTPUTS)
    def run(self, pick: int, output: Any) -> None:
        command = self._open(pick)
        if command is not None:
            self.simulation.run(command, output)

    @rule(count=st.integers(1, 12), output=OUTPUTS)
    def run_many(self, count: int, output: Any) -> None:
        for _ in range(count):
            command = self._open(0)
            if command is not None:
                self.simulation.run(command, output)

    @rule(pick=st.integers(0, 20), transient=st.booleans())
    def fail(self, pick: int, transient: bool) -> None:
        command = self._open(pick)
        if command is not None:
            self.simulation.fail(command, transient=transient)

    @rule(pick=st.integers(0, 20))
    def cancelled_report(self, pick: int) -> None:
        command = self._command(pick)
        if command is not None:
            self.simulation.report("cancelled", command, confirmed=True, evidence={})

    @rule(
        pick=st.integers(0, 20),
        reason=st.sampled_from(["expired", "cancelled", "invalid", "environment"]),
    )
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
        self.the_changelog_is_the_state()
        self.simulation.restart()

    def _log(self) -> dict[str, list[dict[str, Any]]]:
        log: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for event in self.simulation.events:
            log[event["execution_id"]].append(event)
        return log

    @invariant()
    def the_log_is_the_state(self) -> None:
        """Folding the events gives the live state, and their chain holds.

        Only new events are folded each time.
        """
        simulation = self.simulation
        for event in simulation.log[self.folded_events :]:
            folded = self.folded.get(event.execution_id)
            if event.type == "execution.accepted":
                self.folded[event.execution_id] = accepted(event, event.unix())
            elif folded is not None:
                evolve(folded, event, event.unix())
            if event.seq != self.seen.get(event.execution_id, 0) + 1:
                raise AssertionError(f"number {event.seq} of {event.execution_id}")
            self.seen[event.execution_id] = event.seq
            known = self.checked.setdefault(event.execution_id, Checked(event.execution_id))
            assert check(known, linked(encode_event(event)), Rules()) is None
            after = event.execution_id in self.ended
            assert not after or event.type in ASIDES, event.type
            if event.type in TERMINAL_EVENTS:
                self.ended.add(event.execution_id)
        self.folded_events = len(simulation.log)
        for execution in simulation.partition.store.living.values():
            # What guards against copies of commands is in the changelog only.
            expected = {**comparable(self.folded[execution.id]), "signed": execution.signed}
            assert expected == comparable(execution)

    @rule()
    def the_changelog_is_the_state(self) -> None:
        """A store that is filled from the changelog holds what the live one holds."""
        live = self.simulation.partition.store
        fresh = StateStore(86_400)
        restorer = Restorer(fresh)
        for key, value in self.simulation.changelog.items():
            if not key.startswith(b"lock/"):
                restorer.add(key, value)
        restorer.finish()
        assert fresh.living.keys() == live.living.keys()
        for execution_id, execution in live.living.items():
            assert comparable(fresh.living[execution_id]) == comparable(execution)
        for execution_id in self.ended:
            assert fresh.entry(execution_id) == live.entry(execution_id)
            one, other = fresh.ended(execution_id), live.ended(execution_id)
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert comparable(one) == comparable(other)
        for request in self.requests:
            key = request["idempotency_key"]
            found, run = fresh.repeated(fresh.latest("default", key), self.simulation.now)
            known, live_run = live.repeated(live.latest("default", key), self.simulation.now)
            assert (found and found.id, run) == (known and known.id, live_run)

    @rule(slow=st.booleans())
    def lock_records_wait(self, slow: bool) -> None:
        self.simulation.slow_locks = slow

    @rule(pick=st.integers(0, 20), again=st.booleans())
    def read_locks(self, pick: int, again: bool) -> None:
        """Records of the lock topics are read in any order, some of them twice."""
        waiting = len(self.simulation.lock_records)
        if waiting:
            self.simulation.read_locks(pick % waiting, again=again)

    @invariant()
    def an_asset_is_locked_by_one_execution(self) -> None:
        """By the events, and with a token that nobody had before."""
        for event in self.simulation.log[self.locked_events :]:
            data = event.data
            if isinstance(data, LockAcquired):
                for asset, token in data.tokens.items():
                    assert self.held.setdefault(asset, event.execution_id) == event.execution_id
                    assert token > self.tokens.get(asset, 0)
                    self.tokens[asset] = token
            elif isinstance(data, LockEnded):
                for asset in data.tokens:
                    assert self.held.pop(asset) == event.execution_id
            elif isinstance(data, Dispatched):
                for asset, token in (data.fencing_tokens or {}).items():
                    assert self.held[asset] == event.execution_id
                    assert token == self.tokens[asset]
        self.locked_events = len(self.simulation.log)

    @invariant()
    def no_attempt_is_dispatched_or_started_twice(self) -> None:
        for event in self.simulation.events[self.checked_events :]:
            if event["type"] in ("step.dispatched", "step.started"):
                key = (event["type"], event["execution_id"], event["step"], event["attempt"])
                assert key not in self.attempts
                self.attempts.add(key)
        self.checked_events = len(self.simulation.events)

    def teardown(self) -> None:
        """Left alone with willing executors and an operator, everything ends."""
        simulation = self.simulation
        simulation.slow_locks = False
        self.the_changelog_is_the_state()
        for _ in range(60):
            for execution in list(simulation.partition.store.living.values()):
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
            if all(e.status in ENDED for e in simulation.partition.store.living.values()):
                assert not simulation.hosted.keeper.keeper.parties
                return
        stuck = {
            e.id: (e.status, [(s.id, s.status, s.in_flight) for s in e.steps.values()])
            for e in simulation.partition.store.living.values()
            if e.status not in ENDED
        }
        raise AssertionError(stuck)


World.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestWorld = World.TestCase
