"""The router's state of one execution: what the events so far add up to.

An execution is rebuilt by folding its events (`evolve`) or from its changelog records
(`changelog`); both give the same. Fields marked as derived follow from the others and are never
written down. Times are Unix seconds; 0 stands for never.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from zlib import crc32

from streams.admitted import AdmittedPlan, AdmittedStep
from streams.lifecycle import STEP_ENDED
from streams.procedures import ProcedureRun
from streams.reports import SecretUse, StepError
from streams.started import StartedBy

#: The reports that end or claim an attempt; each counts once per attempt. Positions are part of
#: the changelog format: append only.
REPORT_KINDS: Final = ("started", "succeeded", "failed", "cancelled", "refused")
_KINDS: Final = {kind: number for number, kind in enumerate(REPORT_KINDS)}
_BITS: Final = 8
_NUMBERS: Final = re.compile(r"\[\d+\]")


def report_bit(kind: str, attempt: int) -> int:
    """The bit that stands for one kind of report about one attempt; 0 for other kinds."""
    number = _KINDS.get(kind)
    return 0 if number is None else 1 << (attempt * _BITS + number)


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One attempt that failed, for the dead letter of its step."""

    attempt: int
    at: str
    error: StepError


@dataclass(slots=True)
class StepState:
    """One step of the plan or of a block, one item of a `for_each` step, or what undoes a step.

    The steps of a block, and items, are there once the block was entered, or its items are known.
    """

    id: str
    status: str = "pending"
    attempt: int = 0
    #: An attempt is out: dispatched, and not known to have ended.
    in_flight: bool = False
    #: The instance that holds the claim of the attempt in flight.
    executor: str | None = None
    dispatched_at: float = 0.0
    #: When the time limit of the attempt began.
    started_at: float = 0.0
    cancelling_at: float = 0.0
    ended_at: float = 0.0
    retry_at: float | None = None
    waiting: str | None = None
    output: Any = None
    error: StepError | None = None
    #: The latest attempts that failed, at most MAX_FAILURES.
    failures: tuple[FailedAttempt, ...] = ()
    #: The `for_each` step that this is an item of, and which one; or the block, or the item that is
    #: one, of which this is a step.
    parent: str | None = None
    index: int = 0
    #: The steps of this block are there.
    entered: bool = False
    #: An item, or a step of this block, failed, and nothing further starts in it; steps of it are
    #: undone where this is `compensate`.
    stopping: str | None = None
    #: The attempts that succeeded while `until` was not true.
    polls: int = 0
    #: The items, where this is a `for_each` step that has been expanded.
    items: list[Any] | None = None
    #: The step that this one undoes.
    undoes: str | None = None
    #: The reports that were applied or recorded, as `report_bit`s: each counts once.
    reported: int = 0
    #: How many reports came too late.
    late: int = 0
    #: Of the latest reports about the use of secrets, as `use_digest`s: each counts once.
    used: tuple[int, ...] = ()
    #: Its compensation was found to have nothing to undo.
    unchanged: bool = False
    # Derived: the lease is renewed in memory only; after a restart it starts again.
    lease_until: float = 0.0
    progress: tuple[float | None, str | None] | None = None
    progress_at: float = 0.0
    #: When the last heartbeat of the attempt was signed, and its last report of a wait, in Unix
    #: microseconds.
    heard_at: int = 0
    held_at: int = 0
    #: Where the plan has it: its id without the numbers of items.
    path: str = ""

    def __post_init__(self) -> None:
        """The path follows from the id."""
        self.path = self.path or (_NUMBERS.sub("", self.id) if "[" in self.id else self.id)

    @property
    def is_item(self) -> bool:
        """Whether this is one item of a `for_each` step."""
        return self.id[-1] == "]"

    @property
    def is_container(self) -> bool:
        """Whether there are steps within it, with whose ends it ends."""
        return self.items is not None or self.entered

    @property
    def claimed(self) -> bool:
        """Whether an executor holds the attempt in flight."""
        return self.in_flight and self.executor is not None


#: Failed attempts that a step remembers.
MAX_FAILURES: Final = 20
#: Reports about the use of secrets that a step remembers.
MAX_USED: Final = 50


def use_digest(attempt: int, executor: str, uses: Iterable[SecretUse]) -> int:
    """What tells one report about the use of secrets from another."""
    return crc32(repr((attempt, executor, tuple(uses))).encode())


def item_id(step: str, index: int) -> str:
    """The id of one item of a `for_each` step."""
    return f"{step}[{index}]"


def undo_id(step: str) -> str:
    """The id of the step that undoes `step`."""
    return f"{step}.undo"


@dataclass(slots=True)
class LockNeeds:
    """What an execution has asked of the lock keeper; in memory only, and asked again."""

    #: Not answered by a grant yet.
    asked: set[str] = field(default_factory=set)
    #: asset -> why the execution does not have it
    blocked: dict[str, str] = field(default_factory=dict)
    #: step -> what it said last of why it waits
    told: dict[str, str] = field(default_factory=dict)
    #: What the plan itself names, once it was worked out.
    planned: dict[str, None] | None = None
    #: `for_each` step -> why none of its items can have its lock
    too_many: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Execution:
    """One admitted execution."""

    id: str
    tenant: str
    actor: str
    idempotency_key: str
    plan: AdmittedPlan
    plan_hash: str
    mode: str
    sla_class: str
    action_class: str
    environment: str
    priority: int
    timeout_seconds: float
    approval_level: int
    accepted_at: float
    #: 1 for the first acceptance of its idempotency key, and one more for each later one.
    run: int = 1
    rerun_of: str | None = None
    sla_seconds: float = 0.0
    sla_breached: bool = False
    #: Who asked for the executions that this one repeats; none of them approves it.
    earlier_actors: list[str] = field(default_factory=list)
    #: Whom a request without a signature named; that actor does not approve it either.
    claimed_actor: str | None = None
    #: When its request was signed, in Unix microseconds; None where it is not signed.
    signed_at: int | None = None
    #: tool -> digest of the definition that is approved; None where no approval is needed.
    definitions: dict[str, str] | None = None
    #: The procedure that was asked for in the place of a plan.
    procedure: ProcedureRun | None = None
    #: The schedule or trigger that asked for it.
    started_by: StartedBy | None = None
    #: Its trace and the span of its producer in it, as `streams.trace_context` writes them; None
    #: where there are no traces. No decision depends on it, and no event holds it.
    trace: str | None = None
    seq: int = 0
    #: That of the last event; None where an earlier version wrote it.
    chain: str | None = None
    status: str = "approved"
    approval_expires_at: float | None = None
    #: Who has approved it so far.
    approved_by: list[str] = field(default_factory=list)
    started_at: float | None = None
    ended_at: float | None = None
    #: Since when it waits for a person (paused, needs attention), and for how long it did before.
    paused_at: float | None = None
    paused_seconds: float = 0.0
    #: `cancelled` or `timeout` once the end is asked for; the attempts in flight end first.
    ending: str | None = None
    ending_reason: str | None = None
    #: A step failed and the plan stops; compensations run where this is `compensate`.
    stopping: str | None = None
    #: How it ends, once everything but the steps of `finally` has ended, and since when.
    outcome: str | None = None
    outcome_reason: str | None = None
    finally_at: float = 0.0
    #: The steps of `finally` are to end, too.
    finally_ending: bool = False
    #: When by each clock a command was last signed that was followed, in Unix microseconds.
    signed: dict[str, int] = field(default_factory=dict)
    #: How many records about it were refused for their signature.
    forged: int = 0
    #: asset -> fencing token, of what it holds
    locks: dict[str, int] = field(default_factory=dict)
    #: The same of what it held until the lease ended: no grant of such a token counts again.
    locks_lost: dict[str, int] = field(default_factory=dict)
    steps: dict[str, StepState] = field(default_factory=dict)
    # Derived: what it has asked for, and when its locks are renewed.
    lock_needs: LockNeeds | None = None
    renew_at: float | None = None
    # Derived from the plan and the steps; specs and dependents by path:
    specs: dict[str, AdmittedStep] = field(default_factory=dict)
    finals: frozenset[str] = frozenset()
    dependents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unmet: dict[str, int] = field(default_factory=dict)
    open_steps: int = 0

    def spec(self, step: StepState) -> AdmittedStep:
        """What the plan says of a step: an item has its parent's, a compensation its own."""
        if step.undoes is not None:
            undo = self.spec(self.steps[step.undoes]).compensate
            assert undo is not None  # only steps with a compensation are undone  # noqa: S101
            return undo
        return self.specs[step.path]

    def children(self, step: StepState) -> list[str]:
        """The ids of the items of a step, or of the steps of a block, that are there."""
        if step.items is not None:
            return [item_id(step.id, index) for index in range(len(step.items))]
        if step.entered:
            return [f"{step.id}.{spec.id}" for spec in self.specs[step.path].steps]
        return []

    def within(self, step: StepState) -> list[StepState]:
        """Everything that is there within a block or item, what undoes a step of it too."""
        begin = f"{step.id}."
        return [other for name, other in self.steps.items() if name.startswith(begin)]

    def beside(self, step: StepState) -> str:
        """What the ids of the steps beside this one begin with."""
        return "" if step.parent is None else f"{step.parent}."

    def dependents_of(self, step: StepState) -> list[str]:
        """The ids of the steps that wait for this one."""
        waiting = self.dependents.get(step.path)
        if not waiting or step.is_item or step.undoes is not None:
            return []
        begin = self.beside(step)
        return [begin + name for name in waiting]

    def around(self, step: StepState) -> Iterator[StepState]:
        """The step and everything that it is within, from the inside out."""
        origin = step if step.undoes is None else self.steps[step.undoes]
        yield origin
        while origin.parent is not None:
            origin = self.steps[origin.parent]
            yield origin

    def is_final(self, step: StepState) -> bool:
        """Whether it is a step of `finally`, or within one."""
        return bool(self.finals) and step.path.partition(".")[0] in self.finals

    def ends(self, step: StepState) -> bool:
        """Whether the end of the step is asked for: by a cancel, or because time is over."""
        return self.finally_ending if self.is_final(step) else self.ending is not None

    def stops(self, step: StepState) -> str | None:
        """Whether nothing further starts where the step stands; what runs there goes on."""
        if step.undoes is not None:
            step = self.steps[step.undoes]
        if step.is_item:
            step = self.steps[step.parent or ""]
            if step.stopping is not None:
                return step.stopping
        if step.parent is not None:
            return self.steps[step.parent].stopping
        return None if self.is_final(step) else self.stopping


def derive(execution: Execution) -> None:
    """Work out what follows from the plan and the steps: specs by path, and who waits for whom."""
    specs: dict[str, AdmittedStep] = {}
    dependents: dict[str, list[str]] = {}
    _derive(execution.plan.roots, "", specs, dependents)
    execution.specs = specs
    execution.finals = frozenset(spec.id for spec in execution.plan.finally_steps)
    execution.dependents = {name: tuple(waiting) for name, waiting in dependents.items()}
    execution.unmet = {
        name: _open(execution.steps[execution.beside(step) + other] for other in waits)
        for name, step in execution.steps.items()
        if step.undoes is None and not step.is_item
        for waits in (specs[step.path].depends_on,)
    }
    execution.open_steps = _open(execution.steps.values())


def _derive(
    steps: Iterable[AdmittedStep],
    begin: str,
    specs: dict[str, AdmittedStep],
    dependents: dict[str, list[str]],
) -> None:
    for spec in steps:
        specs[begin + spec.id] = spec
        for dependency in spec.depends_on:
            dependents.setdefault(begin + dependency, []).append(spec.id)
        _derive(spec.steps, f"{begin}{spec.id}.", specs, dependents)


def inner_steps(execution: Execution, step: StepState) -> list[StepState]:
    """New states of the items of a step, or of the steps of a block."""
    items = step.items is not None
    return [
        StepState(name, parent=step.id, index=index if items else 0)
        for index, name in enumerate(execution.children(step))
    ]


def _open(steps: Iterable[StepState]) -> int:
    return sum(step.status not in STEP_ENDED for step in steps)
