"""Lock answers: what the router makes of what the lock keeper says."""

from __future__ import annotations

from processors.router import locks
from processors.router.attempts import fail_unstarted
from processors.router.decision import Decision
from processors.router.scheduling import advance
from processors.router.state import Execution
from streams.lifecycle import STEP_ENDED
from streams.locks import AnyLockAnswer, Refused


def decide_lock_answer(execution: Execution, answer: AnyLockAnswer, now: float) -> Decision:
    """What follows from an answer to an execution that has not ended; repeated, it is harmless."""
    decision = Decision(execution, now)
    locks.apply(decision, answer)
    if isinstance(answer, Refused):
        step = execution.steps.get(answer.request)
        if step is not None and not step.in_flight and step.status not in STEP_ENDED:
            fail_unstarted(decision, step, "deadlock", locks.refusal(answer))
    advance(decision, everything=True)
    return decision
