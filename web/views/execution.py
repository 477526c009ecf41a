"""The head of the page of one execution: is it done, why is it stuck, may it run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from api.caller import Caller
from reading.models.executions import ExecutionDetail, Wait
from streams.lifecycle import ENDED
from web.statuses import Look, execution_look
from web.views.actions import Button, buttons
from web.wording import absolute, counted, duration, number

_MOST_WAITS: Final = 5


@dataclass(frozen=True, slots=True)
class Budget:
    """The time of an execution against what its class promises and its limit, on one scale."""

    elapsed: float
    #: Places on the scale, in percent.
    elapsed_at: float
    sla_at: float | None
    limit_at: float | None
    sla_seconds: float | None
    limit_seconds: float | None
    #: Seconds of the whole scale.
    scale: float
    late: bool
    #: From when on it goes on counting.
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing to know about the execution."""

    label: str
    text: str
    href: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """What stands above the tabs."""

    id: str
    path: str
    name: str
    status: str
    look: Look
    #: The answer, on one line.
    answer: str
    #: What keeps it from going on.
    waits: list[Wait]
    waits_left_out: int
    percent: float
    budget: Budget
    facts: list[Fact]
    buttons: list[Button]
    begun: bool
    ended: bool
    last_seq: int


def head(detail: ExecutionDetail, caller: Caller, now: datetime) -> Head:
    """The head of this execution."""
    status = detail.status or "unknown"
    path = f"/executions/{detail.execution_id}"
    ended = status in ENDED
    return Head(
        id=detail.execution_id,
        path=path,
        name=detail.name or detail.procedure or "Plan without a name",
        status=status,
        look=execution_look(status),
        answer=_answer(detail, now),
        waits=detail.waits[:_MOST_WAITS] if not ended else [],
        waits_left_out=max(0, len(detail.waits) - _MOST_WAITS),
        percent=100.0 if ended else detail.percent,
        budget=_budget(detail, now),
        facts=_facts(detail),
        buttons=buttons(detail, caller, path),
        begun=detail.started_at is not None,
        ended=ended,
        last_seq=detail.last_seq,
    )


def _answer(detail: ExecutionDetail, now: datetime) -> str:
    took = duration(detail.duration_seconds)
    counts = detail.step_counts or {}
    good, total = counts.get("succeeded", 0), sum(counts.values())
    reason = detail.error_message or detail.status_reason
    match detail.status:
        case "completed":
            what = "All steps" if good == total else f"{number(good)} of {counted(total, 'step')}"
            return f"Done. {what} succeeded in {took}."
        case "running":
            return f"{number(good)} of {counted(total, 'step')} succeeded so far."
        case "pending_approval":
            return _approval(detail, now)
        case "approved" | "queued":
            return reason or "It has been admitted and will start as soon as it can."
        case "paused":
            return f"Nothing more starts until it is resumed. {_sentence(reason)}".strip()
        case "needs_attention":
            found = _sentence(reason) or "The outcome of a step is not known."
            return f"{found} A person has to say what became of it."
        case "cancelled" | "rejected":
            return _sentence(reason) or f"It was {detail.status}."
        case "timeout":
            return f"It was ended after {took}. {_sentence(reason)}".strip()
        case "failed" | "partial":
            bad = counts.get("failed", 0) + counts.get("timed_out", 0)
            told = f"{counted(bad, 'step')} failed, {number(good)} of {number(total)} succeeded."
            return f"{_sentence(reason)} {told}".strip()
    return reason or ""


def _approval(detail: ExecutionDetail, now: datetime) -> str:
    approval = detail.approval
    if approval is None:
        return "It waits for an approval."
    needed = approval.level or 1
    given = f" {approval.given} of {needed} given." if needed > 1 else ""
    until = ""
    if approval.expires_at is not None:
        left = (approval.expires_at - now).total_seconds()
        until = f" It expires in {duration(max(0, left))}." if left > 0 else " It has expired."
    return f"It waits for {counted(needed, 'approval')}.{given}{until} Nothing has been run."


def _sentence(text: str | None) -> str:
    if not text:
        return ""
    first = text[0].upper() + text[1:]
    return first if first[-1] in ".!?…" else f"{first}."


def _budget(detail: ExecutionDetail, now: datetime) -> Budget:
    begin = detail.created_at
    end = detail.completed_at or now
    elapsed = max(0.0, (end - begin).total_seconds())
    limit = None
    if detail.times_out_at is not None:
        limit = (detail.times_out_at - begin).total_seconds()
    scale = max(elapsed, detail.sla_seconds or 0.0, limit or 0.0, 0.001)
    # A limit of hours must not make what is going on invisible.
    scale = min(scale, max(elapsed, detail.sla_seconds or 0.0) * 4 or scale)
    beyond = limit is not None and limit > scale
    return Budget(
        elapsed=elapsed,
        elapsed_at=round(100 * elapsed / scale, 2),
        sla_at=None if detail.sla_seconds is None else round(100 * detail.sla_seconds / scale, 2),
        limit_at=None if limit is None or beyond else round(100 * limit / scale, 2),
        sla_seconds=detail.sla_seconds,
        limit_seconds=detail.timeout_seconds,
        scale=scale,
        late=detail.late,
        since=None if detail.completed_at is not None or detail.status in ENDED else begin,
    )


def _facts(detail: ExecutionDetail) -> list[Fact]:
    facts = [Fact("Asked by", detail.actor or "nobody known", at=detail.created_at)]
    if detail.started_by:
        kind = detail.started_by_kind or "starter"
        href = f"/{kind}s" if kind in ("schedule", "trigger") else None
        facts.append(Fact(f"By {kind}", detail.started_by, href))
    approval = detail.approval
    if approval is not None:
        people = [one.actor for one in approval.decisions if one.approved]
        if people:
            facts.append(Fact("Approved by", ", ".join(people), at=approval.decided_at))
    if detail.procedure:
        version = f" version {detail.procedure_version}" if detail.procedure_version else ""
        facts.append(Fact("Procedure", detail.procedure + version))
    if detail.environment:
        facts.append(Fact("Environment", detail.environment))
    classes = [part for part in (detail.sla_class, detail.action_class) if part]
    if classes:
        facts.append(Fact("Class", ", ".join(classes)))
    if detail.rerun_of:
        facts.append(Fact("Rerun of", detail.rerun_of[:8], f"/executions/{detail.rerun_of}"))
    for again in detail.reruns[-3:]:
        facts.append(Fact("Repeated by", again[:8], f"/executions/{again}"))
    if detail.cancel_requested_at is not None and detail.status not in ENDED:
        facts.append(Fact("Cancel asked for", absolute(detail.cancel_requested_at)))
    return facts
