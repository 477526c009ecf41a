"""Approval: who may approve what, and what follows from an approval; pure.

An approval is of one plan, named by its hash, and given by somebody who asked for none of its runs.
"""

from __future__ import annotations

from authority.identity import Identity
from processors.router import policy
from processors.router.calls import definitions
from processors.router.decision import Decision
from processors.router.scheduling import advance
from processors.router.state import Execution
from streams.actors import same_actor
from streams.commands import Approve
from streams.control_payloads import ApprovalGiven, ApprovalRequested, By
from streams.timestamps import iso
from toolmeta.registry import Registry


def approval_request(execution: Execution, now: float) -> ApprovalRequested:
    """The data of `execution.approval_requested`."""
    timings = policy.timings(execution.sla_class, execution.action_class)
    return ApprovalRequested(
        level=execution.approval_level,
        plan_hash=execution.plan_hash,
        requested_by=execution.actor,
        expires_at=iso(now + timings.approval),
    )


def approve(decision: Decision, by: By) -> None:
    """Count an approval; with the last one that the level needs the execution goes on."""
    execution = decision.execution
    given, level = len(execution.approved_by) + 1, execution.approval_level
    if given < level:
        partial = ApprovalGiven(by.actor, given, level, by.reason)
        decision.emit("execution.approval_given", partial)
        return
    decision.emit("execution.approved", by)
    advance(decision, everything=True)


def approval_refusal(
    execution: Execution, command: Approve, identity: Identity, now: float, tools: Registry
) -> str | None:
    """Why this approval does not count, or None."""
    actor = identity.actor
    asked = (execution.claimed_actor or execution.actor, execution.actor, *execution.earlier_actors)
    if any(same_actor(actor, other) for other in asked):
        return f"{actor} asked for this execution and cannot approve it"
    if any(same_actor(actor, other) for other in execution.approved_by):
        return f"{actor} has approved it already; level {execution.approval_level} needs others"
    expires = execution.approval_expires_at
    if expires is not None and expires <= now:
        return f"the time for its approval ended at {iso(expires)}"
    if command.plan_hash is None:
        return (
            "an approval names what is approved: read the plan, and give its hash as plan_hash "
            "(execution.approval_requested carries it)"
        )
    if command.plan_hash != execution.plan_hash:
        return f"the plan has another hash: {execution.plan_hash}"
    asked_for, found = execution.definitions or {}, definitions(execution.plan, tools)
    other = sorted({name for name, _ in asked_for.items() ^ found.items()})
    if other:
        return (
            f"the definition of {', '.join(other[:5])} has changed since the approval was asked "
            "for: submit the plan again"
        )
    return None
