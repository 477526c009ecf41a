"""From the fold's state to the snapshot that everybody reads. Pure; the time is an argument."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from processors.progress.fold import DONE
from processors.progress.state import Progress
from streams.lifecycle import STEP_ENDED
from streams.progress import ProgressSnapshot, SlaProgress, StepState

_STEPS_SHOWN: Final = 200


def snapshot(progress: Progress, now: float) -> ProgressSnapshot:
    """What is known of the execution at `now` (Unix seconds).

    Of an execution that has ended the snapshot depends on its events alone, so a replay gives the
    same one; before, elapsed time, ETA and breach also depend on `now`. Times before the
    newest event count as that event's time.
    """
    facts = progress.facts
    at = progress.ended_at if progress.ended_at is not None else max(now, progress.updated_at)
    eta, error = estimate(progress, at)
    return ProgressSnapshot(
        execution_id=facts.execution_id,
        tenant=facts.tenant,
        name=facts.name,
        status=progress.status,
        seq=progress.seq,
        percent=progress.percent * 100 / DONE,
        counts=dict(Counter(s.status for s in progress.steps.values() if not s.children)),
        total_steps=progress.total,
        steps=[
            StepState(
                step=step,
                tool=state.tool,
                status=state.status,
                attempt=state.attempt,
                percent=state.percent,
                message=state.message,
            )
            for step, state in islice(progress.steps.items(), _STEPS_SHOWN)
        ],
        elapsed_seconds=round(max(0.0, at - facts.accepted_at), 3),
        eta_seconds=_rounded(eta),
        eta_error_seconds=_rounded(error),
        sla=_sla(progress, at),
        updated_at=datetime.fromtimestamp(progress.updated_at, UTC),
    )


def overdue_at(progress: Progress) -> float | None:
    """When a snapshot becomes due without an event: at the SLA deadline, until it is breached."""
    if progress.ended_at is not None or progress.breached:
        return None
    return progress.facts.deadline


def estimate(progress: Progress, now: float) -> tuple[float | None, float | None]:
    """Seconds until the end and the error of that figure; (None, None) where nothing is known.

    With n steps ended, r left, the last end after E seconds of running, each step took E/n, which
    already contains parallel steps and the waits between them:

        eta   = max(0, r * E/n - time since the last end)
        error = sd * sqrt(r) / p, where sd is the standard deviation of the n durations and
                p = max(1, sum of durations / E) the steps that ran side by side

    so the error assumes that the steps left resemble those that ended. With one ended step there
    is no deviation, and the error is the estimate itself. A run that outlasts its estimate shows
    an eta of 0 with the overrun as error.
    """
    durations = progress.durations
    if progress.status != "running" or progress.started_at is None or not durations.ended:
        return None, None
    counting = (step for step in progress.steps.values() if not step.children)
    left = sum(1 for step in counting if step.status not in STEP_ENDED)
    spent = max(0.0, durations.last_end - progress.started_at)
    expected = left * spent / durations.ended - max(0.0, now - durations.last_end)
    eta = max(0.0, expected)
    if durations.ended == 1:
        return eta, max(eta, -expected)
    deviation = math.sqrt(max(0.0, durations.squares) / (durations.ended - 1))
    parallel = max(1.0, durations.mean * durations.ended / spent) if spent else 1.0
    return eta, max(deviation * math.sqrt(left) / parallel, -expected)


def _sla(progress: Progress, at: float) -> SlaProgress | None:
    """Breached once any event, or for a live execution the time `at`, is after the deadline."""
    facts = progress.facts
    if facts.deadline is None or facts.sla_class is None:
        return None
    return SlaProgress(
        sla_class=facts.sla_class,
        deadline=datetime.fromtimestamp(facts.deadline, UTC),
        breached=progress.breached or at > facts.deadline,
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
