"""The router's state of one execution: what the events so far add up to.

An execution is rebuilt by folding its events (`evolve`) or from its changelog pieces
(`changelog`); both give the same. Fields below "derived" follow from the others and are never
written down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from streams.lifecycle import STEP_ENDED

ENDED: Final = frozenset({"rejected", "completed", "failed", "cancelled", "timeout", "partial"})
#: The ends after which the same idempotency key starts a new execution, by the reference rule.
REPEATABLE: Final = frozenset({"failed", "cancelled"})

STEP_FAILED: Final = frozenset({"failed", "timed_out"})

#: The execution statuses and their legal successors. The ten of the reference keep their edges;
#: `paused` and `needs_attention` are ours, and `timeout` is reached from them too.
TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "pending_approval": frozenset({"approved", "rejected", "cancelled"}),
    "approved": frozenset(
        {"queued", "running", "cancelled", "paused", "completed", "failed", "partial", "timeout"}
    ),
    "queued": frozenset(
        {"running", "cancelled", "timeout", "paused", "completed", "failed", "partial"}
    ),
    "running": frozenset(
        {"completed", "failed", "cancelled", "timeout", "partial", "paused", "needs_attention"}
    ),
    "paused": frozenset(
        {"approved", "queued", "running", "completed", "failed", "cancelled", "timeout", "partial",
         "needs_attention"}
    ),
    "needs_attention": frozenset(
        {"running", "completed", "failed", "cancelled", "timeout", "partial", "paused"}
    ),
    **{status: frozenset() for status in ENDED},
}  # fmt: skip


@dataclass(slots=True)
class StepState:
    """One step, or one item of a `for_each` step, or the compensation of one."""

    id: str
    status: str = "pending"
    attempt: int = 0
    #: An attempt is out: dispatched, and not known to have ended.
    in_flight: bool = False
    executor: str | None = None
    dispatched_at: float = 0.0
    started_at: float = 0.0
    ended_at: float = 0.0
    retry_at: float | None = None
    waiting: str | None = None
    output: Any = None
    error: dict[str, Any] | None = None
    #: The attempts that failed so far; at most as many as attempts are allowed.
    failures: list[dict[str, Any]] = field(default_factory=list)
    #: The `for_each` step that this is an item of, with the item.
    parent: str | None = None
    index: int = 0
    item: Any = None
    children: list[str] | None = None
    #: The step that this one undoes.
    undoes: str | None = None
    #: Late reports that were recorded, so that a repetition of one is not an event again.
    late: list[str] = field(default_factory=list)
    # Derived: the lease is renewed in memory only; after a restart it starts afresh.
    lease_until: float = 0.0
    progress: tuple[float | None, str | None] | None = None
    progress_at: float = 0.0
    #: Its changelog record as bytes, while it is as it was written.
    written: bytes | None = None


@dataclass(slots=True)
class Execution:
    """One admitted execution."""

    id: str
    tenant: str
    actor: str
    idempotency_key: str
    plan: dict[str, Any]
    plan_hash: str
    mode: str
    sla_class: str
    action_class: str
    environment: str
    priority: int
    timeout_seconds: float
    approval_level: int
    accepted_at: float
    seq: int = 0
    status: str = "approved"
    approval_expires_at: float | None = None
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
    rerun_of: str | None = None
    steps: dict[str, StepState] = field(default_factory=dict)
    # Derived from the plan and the steps:
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    dependents: dict[str, list[str]] = field(default_factory=dict)
    unmet: dict[str, int] = field(default_factory=dict)
    open_steps: int = 0

    def spec(self, step: StepState) -> dict[str, Any]:
        """The plan's words on a step; an item has its parent's, a compensation its own."""
        if step.undoes is not None:
            origin = self.steps[step.undoes]
            spec = self.spec(origin)
            undo: dict[str, Any] = spec["compensate"]
            return undo
        return self.specs[step.parent or step.id]


@dataclass(slots=True)
class Receipt:
    """What is kept of an ended execution while its idempotency key is remembered."""

    id: str
    tenant: str
    idempotency_key: str | None
    plan_hash: str
    status: str
    seq: int
    ended_at: float
    #: step → last attempt, to tell the repetition of a report from a late one.
    attempts: dict[str, int] = field(default_factory=dict)


def link(execution: Execution) -> None:
    """Work out what follows from the plan: specs by id, who waits for whom, and how many."""
    execution.specs = {spec["id"]: spec for spec in execution.plan["steps"]}
    execution.dependents = {name: [] for name in execution.specs}
    execution.unmet = {}
    for name, spec in execution.specs.items():
        waits = 0
        for dependency in spec["depends_on"]:
            execution.dependents[dependency].append(name)
            step = execution.steps.get(dependency)
            if step is None or step.status not in STEP_ENDED:
                waits += 1
        execution.unmet[name] = waits
    execution.open_steps = sum(step.status not in STEP_ENDED for step in execution.steps.values())
