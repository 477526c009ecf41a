"""The router's state of one execution: what the events so far add up to.

An execution is rebuilt by folding its events (`evolve`) or from its changelog records
(`changelog`); both give the same. Fields marked as derived follow from the others and are never
written down. Times are Unix seconds; 0 stands for never.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from zlib import crc32

from streams.admitted import AdmittedPlan, AdmittedStep
from streams.lifecycle import STEP_ENDED
from streams.procedures import ProcedureRun
from streams.reports import SecretUse, StepError

#: The reports that end or claim an attempt; each counts once per attempt. Positions are part of
#: the changelog format: append only.
REPORT_KINDS: Final = ("started", "succeeded", "failed", "cancelled", "refused")
_KINDS: Final = {kind: number for number, kind in enumerate(REPORT_KINDS)}
_BITS: Final = 8


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
    """One step of the plan, one item of a `for_each` step, or the compensation of either."""

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
    #: The `for_each` step that this is an item of, and which one.
    parent: str | None = None
    index: int = 0
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

    @property
    def children(self) -> list[str]:
        """The ids of the items of a `for_each` step; empty for any other."""
        return [item_id(self.id, index) for index in range(len(self.items or ()))]

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
    #: When each key last signed a command that was followed, in Unix microseconds.
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
    # Derived from the plan and the steps:
    specs: dict[str, AdmittedStep] = field(default_factory=dict)
    dependents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unmet: dict[str, int] = field(default_factory=dict)
    open_steps: int = 0

    def spec(self, step: StepState) -> AdmittedStep:
        """What the plan says of a step: an item has its parent's, a compensation its own."""
        if step.undoes is not None:
            undo = self.spec(self.steps[step.undoes]).compensate
            assert undo is not None  # only steps with a compensation are undone  # noqa: S101
            return undo
        return self.specs[step.parent or step.id]

    def item(self, step: StepState) -> Any:
        """The item of a `for_each` step that this step is for."""
        return (self.steps[step.parent or step.id].items or ())[step.index]


@dataclass(slots=True)
class StepEntry:
    """What is kept of a step of an ended execution, to tell a repeated report from a late one."""

    attempt: int
    reported: int
    late: int
    #: Whose executors report about it; None where an earlier version wrote the entry.
    domain: str | None = None


@dataclass(slots=True)
class DedupEntry:
    """What is kept of an ended execution while its idempotency key is remembered.

    A rejection whose id must not be used again has no idempotency key.
    """

    id: str
    tenant: str
    idempotency_key: str | None
    plan_hash: str
    status: str
    seq: int
    ended_at: float
    run: int = 1
    chain: str | None = None
    steps: dict[str, StepEntry] = field(default_factory=dict)
    signed_at: int | None = None
    signed: dict[str, int] = field(default_factory=dict)
    forged: int = 0
    procedure: ProcedureRun | None = None


def dedup_entry(execution: Execution) -> DedupEntry:
    """The entry of an ended execution."""
    return DedupEntry(
        execution.id,
        execution.tenant,
        execution.idempotency_key,
        execution.plan_hash,
        execution.status,
        execution.seq,
        execution.ended_at or execution.accepted_at,
        execution.run,
        execution.chain,
        {
            step.id: StepEntry(step.attempt, step.reported, step.late, execution.spec(step).domain)
            for step in execution.steps.values()
            if step.attempt
        },
        execution.signed_at,
        execution.signed,
        execution.forged,
        execution.procedure,
    )


def derive(execution: Execution) -> None:
    """Work out what follows from the plan and the steps: specs by id, and who waits for whom."""
    specs = {spec.id: spec for spec in execution.plan.steps}
    dependents: dict[str, list[str]] = {}
    for name, spec in specs.items():
        for dependency in spec.depends_on:
            dependents.setdefault(dependency, []).append(name)
    execution.specs = specs
    execution.dependents = {name: tuple(waiting) for name, waiting in dependents.items()}
    execution.unmet = {
        name: _open(execution.steps[dependency] for dependency in spec.depends_on)
        for name, spec in specs.items()
    }
    execution.open_steps = _open(execution.steps.values())


def _open(steps: Iterable[StepState]) -> int:
    return sum(step.status not in STEP_ENDED for step in steps)
