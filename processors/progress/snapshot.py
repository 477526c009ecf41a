"""From the fold's state to the snapshot that everybody reads. Pure; the time is an argument.

It is made as the JSON document that `streams.progress` describes, without building its models: a
test holds every document against them.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import Any, Final, NamedTuple

from processors.progress.fold import DONE
from processors.progress.forecast import Forecast, StepForecast, forecast
from processors.progress.history import DurationHistory
from processors.progress.limits import of_execution, of_step
from processors.progress.lognormal import shown
from processors.progress.state import STEPS_SHOWN, Progress, StepProgress
from streams.lifecycle import STEP_ENDED
from streams.progress import ProgressSnapshot
from streams.timestamps import iso
from streams.waits import Wait

_WAITED: Final = 0.001
#: So long after its start an execution that history could estimate keeps its percent as it is.
_YOUNG_SECONDS: Final = 0.25


class Shown(NamedTuple):
    """The snapshot as a JSON document, and the state with the percent that it shows."""

    document: dict[str, Any]
    progress: Progress


def snapshot(
    progress: Progress, now: float, history: DurationHistory | None = None
) -> ProgressSnapshot:
    """The snapshot as readers get it."""
    return ProgressSnapshot.model_validate(show(progress, now, history).document)


def show(progress: Progress, now: float, history: DurationHistory | None = None) -> Shown:
    """What is known of the execution at `now` (Unix seconds).

    Of an execution that has ended the snapshot depends on its events alone, so a replay gives the
    same one; before, elapsed time, estimates, percent and breach also depend on `now` and on
    `history`. Times before the newest event count as that event's time.
    """
    facts, ended = progress.facts, progress.ended_at
    at = ended if ended is not None else max(now, progress.updated_at)
    eta, error = None, None
    percent, found = progress.percent, None
    if ended is not None:
        percent = DONE
    elif history is None or not len(history) or not _young(progress, at):
        if history is not None and progress.status == "running":
            found = forecast(progress, at, history)
        eta, error = (found.eta, found.error) if found is not None else estimate(progress, at)
        percent = _percent(progress, found)
    document: dict[str, Any] = {
        "execution_id": facts.execution_id,
        "tenant": facts.tenant,
        "name": facts.name,
        "status": progress.status,
        "seq": progress.seq,
        "percent": percent * 100 / DONE,
        "counts": dict(Counter([s.status for s in progress.steps.values() if not s.children])),
        "total_steps": progress.total,
        "steps": _steps(progress, found, at),
        "elapsed_seconds": round(max(0.0, at - facts.accepted_at), 3),
        "eta_seconds": _rounded(eta),
        "eta_error_seconds": _rounded(error),
        "sla": _sla(progress, at, eta),
        "updated_at": iso(progress.updated_at),
        "as_of": iso(at),
    }
    if facts.procedure is not None:
        document["procedure"] = facts.procedure
    if eta is not None:
        document["eta_basis"] = "extrapolation" if found is None else "history"
    if progress.wait is not None:
        document["wait"] = _wait(progress.wait)
    waited = _waited(progress, at)
    if waited:
        document["waited_seconds"] = waited
    if ended is None:
        document["limits"] = of_execution(progress, at)
    if percent != progress.percent:
        progress = replace(progress, percent=percent)
    return Shown(document, progress)


def overdue_at(progress: Progress) -> float | None:
    """When a snapshot becomes due without an event: at the SLA deadline, until it is breached."""
    if progress.ended_at is not None or progress.breached:
        return None
    return progress.facts.deadline


def estimate(progress: Progress, now: float) -> tuple[float | None, float | None]:
    """Seconds until the end and the error of that figure, where earlier runs say nothing;
    (None, None) where this one does not either.

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
    left = sum([not s.children and s.status not in STEP_ENDED for s in progress.steps.values()])
    spent = max(0.0, durations.last_end - progress.started_at)
    expected = left * spent / durations.ended - max(0.0, now - durations.last_end)
    eta = max(0.0, expected)
    if durations.ended == 1:
        return eta, max(eta, -expected)
    deviation = math.sqrt(max(0.0, durations.squares) / (durations.ended - 1))
    parallel = max(1.0, durations.mean * durations.ended / spent) if spent else 1.0
    return eta, max(deviation * math.sqrt(left) / parallel, -expected)


def _young(progress: Progress, at: float) -> bool:
    """Whether it has only just begun: most plans have ended before anybody reads an estimate."""
    return progress.started_at is not None and at - progress.started_at < _YOUNG_SECONDS


def _percent(progress: Progress, found: Forecast | None) -> int:
    """Tenths of a percent: the work that is done, or without history the mean over the steps.

    Never less than was shown before, and at most 999 until the execution ends.
    """
    if found is not None:
        return max(progress.percent, min(DONE - 1, found.percent))
    if not progress.total:
        return progress.percent
    return max(progress.percent, min(DONE - 1, progress.points * 10 // progress.total))


def _steps(progress: Progress, found: Forecast | None, at: float) -> list[dict[str, Any]]:
    forecasts = {} if found is None else found.steps
    accepted = progress.facts.accepted_at
    steps = [
        _step(name, state, forecasts.get(name), accepted, at)
        for name, state in islice(progress.steps.items(), STEPS_SHOWN)
    ]
    for number, document in enumerate(steps):
        children = document.get("children")
        if children and document["status"] not in STEP_ENDED and document["step"] not in forecasts:
            within = list(islice(progress.steps.values(), number + 1, number + 1 + children))
            document["percent"] = sum([one.percent for one in within]) // len(within)
    return steps


def _step(
    name: str, state: StepProgress, found: StepForecast | None, accepted: float, at: float
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "step": name,
        "tool": state.tool,
        "status": state.status,
        "attempt": state.attempt,
        "percent": state.percent,
        "message": state.message,
    }
    if state.target is not None:
        document["target"] = state.target
    if state.children:
        document["children"] = state.children
    if state.begun >= 0:
        document["started_at"] = iso(round(accepted + state.begun, 3))
    if state.ended >= 0:
        document["ended_at"] = iso(round(accepted + state.ended, 3))
        if state.begun >= 0:
            document["duration_seconds"] = round(state.ended - state.begun, 3)
    waited = state.waited
    if state.wait is not None:
        document["wait"] = _wait(state.wait)
        waited += max(0.0, at - state.wait.since)
    if waited > _WAITED:
        document["waited_seconds"] = round(waited, 3)
    if state.held:
        document["held_seconds"] = state.held
    if state.status == "running" and state.percent:
        document["percent_source"] = "reported"
    if found is not None:
        eta, error = shown(found.left)
        document["eta_seconds"], document["eta_error_seconds"] = round(eta, 3), round(error, 3)
        if state.status == "running" and not state.percent:
            document["percent"], document["percent_source"] = found.percent, "history"
    if state.acting >= 0 or state.expires >= 0 or state.wait is not None:
        limits = of_step(state, accepted, at)
        if limits:
            document["limits"] = limits
    return document


def _wait(wait: Wait) -> dict[str, Any]:
    document = {"reason": wait.reason, "message": wait.message, "since": iso(wait.since)}
    if wait.until is not None:
        document["until"] = iso(wait.until)
    return document


def _waited(progress: Progress, at: float) -> dict[str, float]:
    """Seconds by reason, of the waits that are over and of those that last."""
    waited = dict(progress.waited or {})
    if progress.ended_at is not None:
        return waited
    waits = [step.wait for step in progress.steps.values() if step.wait is not None]
    for wait in (*waits, *([] if progress.wait is None else [progress.wait])):
        seconds = max(0.0, at - wait.since)
        waited[wait.reason] = round(waited.get(wait.reason, 0.0) + seconds, 3)
    return waited


def _sla(progress: Progress, at: float, eta: float | None) -> dict[str, Any] | None:
    """Breached once any event, or for a live execution the time `at`, is after the deadline."""
    facts = progress.facts
    if facts.deadline is None or facts.sla_class is None:
        return None
    document: dict[str, Any] = {
        "sla_class": facts.sla_class,
        "deadline": iso(facts.deadline),
        "breached": progress.breached or at > facts.deadline,
    }
    if progress.ended_at is None:
        document["remaining_seconds"] = round(facts.deadline - at, 3)
    if eta is not None:
        document["breach_expected"] = document["breached"] or at + eta > facts.deadline
    return document


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
