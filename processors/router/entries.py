"""What the router keeps of an execution that has ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from processors.router.state import Execution
from streams.procedures import ProcedureRun


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
