"""Believable executions: as an installation has them, without broker or database."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from api.problems import not_found
from reading.models.events import EventPage
from reading.models.executions import (
    ApprovalState,
    ExecutionCounts,
    ExecutionDetail,
    ExecutionPage,
    ExecutionSummary,
    PlanView,
    Wait,
)
from reading.models.steps import AttemptPage, StepDetail, StepPage, StepSummary
from streams.lifecycle import ENDED
from tests.browser.believable_steps import (
    attempts_of,
    deployment,
    detail_of,
    events_of,
    many,
    roll_out,
)
from web.views.filters import ListFilters

NOW = datetime.now(UTC)
#: Text that would run, or move a terminal's cursor, where it is not shown as text.
HOSTILE = (
    '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>\x1b[31mred\x1b[0m\u202egpj'
)

_KINDS: tuple[tuple[str, str, str, str | None, str | None], ...] = (
    ("running", "patch web tier", "ci@acme", "patch-web", None),
    (
        "pending_approval",
        "rotate database credentials",
        "dana@acme",
        "rotate-credentials",
        "waits for 2 approvals, 1 given",
    ),
    ("running", "collect disk usage", "schedule", "disk-report", None),
    (
        "needs_attention",
        "fail over primary",
        "sam@acme",
        None,
        "step promote: the attempt is lost; nobody knows how far it came",
    ),
    ("queued", "restart workers", "chatops", "restart-workers", "waits for the lock on web-07"),
    ("completed", "nightly backup", "schedule", "backup", None),
    ("completed", "disk check", "ci@acme", None, None),
    (
        "failed",
        "deploy api 2.14.1",
        "ci@acme",
        "deploy-api",
        "step health: HTTP 502 from https://api.acme.example/healthz after 5 attempts",
    ),
    ("completed", "renew certificates", "schedule", "renew-certs", None),
    (
        "partial",
        "update packages on 40 hosts",
        "dana@acme",
        "update-packages",
        "3 of 40 items failed; on_failure is continue",
    ),
    ("cancelled", "scan 10.20.0.0/16", "sam@acme", None, "cancelled by sam@acme: wrong range"),
    (
        "timeout",
        "rebuild search index",
        "ci@acme",
        "rebuild-index",
        "it ran longer than its limit of 1 h",
    ),
    ("completed", "register web servers", "dana@acme", None, None),
    (
        "rejected",
        "drop staging database",
        "intern@acme",
        None,
        "the policy does not allow mysql with drop in staging",
    ),
    (
        "paused",
        "drain node k8s-12",
        "sam@acme",
        "drain-node",
        "paused by sam@acme: wait for the deploy",
    ),
    ("completed", HOSTILE, "anonymous", None, None),
)
_ALL_GOOD = {"succeeded": 5}
_MIXED = {"succeeded": 3, "failed": 1, "skipped": 1}


def execution_id(number: int) -> str:
    """The id of execution `number`, the same at every call."""
    return str(UUID(int=(0x0193_5A00_0000 + number) << 80 | 0x8 << 76 | 0x8 << 60 | number * 7919))


def summary(number: int, **given: Any) -> ExecutionSummary:
    """One execution of the list; what is given replaces what it would have."""
    chance = random.Random(number)
    status, name, actor, procedure, why = _KINDS[number % len(_KINDS)]
    status = given.pop("status", status)
    created = NOW - timedelta(
        minutes=3 * number, seconds=85 if not number else chance.randint(2, 90)
    )
    begun = (
        None
        if status in ("pending_approval", "rejected", "queued")
        else created + timedelta(seconds=2)
    )
    ended = status in ENDED
    seconds = chance.choice((0.4, 2.3, 41.0, 187.0, 3_911.0)) if ended and begun else None
    if status == "failed":
        seconds = 74.0
    values: dict[str, Any] = dict(
        execution_id=execution_id(number), tenant="acme", name=name, status=status,
        status_reason=why, actor=actor, environment="prod", approval_level=0, priority=5,
        sla_class="medium", action_class="modify", procedure=procedure,
        procedure_version="3" if procedure else None,
        started_by_kind="schedule" if actor == "schedule" else None,
        started_by=f"{procedure}-nightly" if actor == "schedule" else None,
        total_steps=5,
        step_counts=_ALL_GOOD if status == "completed" else _MIXED,
        percent=100.0 if ended else chance.randint(5, 95), created_at=created, started_at=begun,
        completed_at=begun + timedelta(seconds=seconds) if begun and seconds else None,
        duration_seconds=seconds, sla_seconds=600.0,
        late=status == "timeout" or (status == "running" and number % 32 == 2),
        error_class=None, error_message=why if status in ("failed", "timeout") else None,
    )  # fmt: skip
    values.update(given)
    return ExecutionSummary.model_validate(values)


class Believable:
    """The source of the pages about executions, of `count` of them."""

    def __init__(self, count: int = 60) -> None:
        """The newest is number 0."""
        self.count = count

    def page(self, filters: ListFilters, after: str | None) -> ExecutionPage:
        """The first fifty that match."""
        first = int(after or 0)
        matching = [one for number in range(first, min(self.count, first + 400))
                    if _matches(one := summary(number), filters)]  # fmt: skip
        more = str(first + 50) if len(matching) > 50 else None
        return ExecutionPage(executions=matching[:50], next=more)

    def counts(self, filters: ListFilters) -> ExecutionCounts:
        """By status."""
        counts: dict[str, int] = {}
        for number in range(self.count):
            status = _KINDS[number % len(_KINDS)][0]
            counts[status] = counts.get(status, 0) + 1
        return ExecutionCounts.model_validate(
            {"counts": counts, "late": self.count // 20, "total": self.count, "complete": True}
        )

    def some(self, idents: Sequence[str]) -> list[ExecutionSummary]:
        """Those of them that there are."""
        return [one for one in map(summary, range(self.count)) if one.execution_id in idents]

    def detail(self, ident: str) -> ExecutionDetail:
        """One of the first hundred."""
        number = self._number(ident)
        one = summary(number)
        steps = self._steps(ident)
        counts = Counter(step.status for step in steps if step.tool != "block")
        approval = None
        if one.status == "pending_approval":
            approval = ApprovalState(
                state="pending", level=2, given=1, plan_hash="ab" * 32, requested_by=one.actor,
                requested_at=one.created_at, expires_at=NOW + timedelta(hours=3),
                decided_by=None, decided_at=None, reason=None, decisions=[],
            )  # fmt: skip
        waits = []
        if one.status == "running":
            waits = [
                Wait(step=step.step, status="waiting", reason=step.status_reason, until=None,
                     since=NOW - timedelta(seconds=12))
                for step in steps if step.status == "waiting"
            ]  # fmt: skip
        values = one.model_dump() | {"step_counts": dict(counts), "total_steps": len(steps)}
        return ExecutionDetail(
            **values, execution_mode="background", idempotency_key=f"key-{number}", run=1,
            plan_hash="ab" * 32, procedure_digest=None, started_by_cause=None,
            rerun_of=execution_id(90) if number == 7 else None, reruns=[], conflicts_with=None,
            queued_at=None, cancel_requested_at=None,
            sla_deadline=one.created_at + timedelta(seconds=600), timeout_seconds=1_800.0,
            times_out_at=one.started_at and one.started_at + timedelta(seconds=1_800),
            compensation_counts=None, approval=approval, waits=waits, steps_known=len(steps),
            updated_at=NOW, last_seq=len(self._events(ident)),
        )  # fmt: skip

    def steps(
        self, ident: str, *, limit: int, after: str | None, statuses: Sequence[str]
    ) -> StepPage:
        """From the roll-out, or of the many."""
        found = [
            step for step in self._steps(ident) if not statuses or step.status in statuses
        ]  # fmt: skip
        first = int(after or 0)
        following = str(first + limit) if len(found) > first + limit else None
        return StepPage(steps=found[first : first + limit], total=len(found), next=following)

    def attempts(self, ident: str, *, limit: int) -> AttemptPage:
        """All of them."""
        found = [one for step in self._steps(ident) for one in attempts_of(step)]
        return AttemptPage(attempts=found[:limit], next=None)

    def step(self, ident: str, step: str) -> StepDetail | None:
        """With everything about it."""
        for one in self._steps(ident):
            if one.step == step:
                return detail_of(one)
        return None

    def events(self, ident: str, *, after: int, limit: int) -> EventPage:
        """In order."""
        found = self._events(ident)
        page = [event for event in found if event.seq > after][:limit]
        more = page[-1].seq if page and page[-1].seq < len(found) else None
        return EventPage(execution_id=ident, events=page, last_seq=len(found), next=more)

    def plan(self, ident: str) -> PlanView:
        """A plan with a reference and a secret."""
        steps = [
            {"id": step.step, "tool": step.tool, "depends_on": step.depends_on,
             "parameters": {"host": "{{ item }}", "dry_run": False,
                            "token": {"$secret": "vault:kv/patch#token"}}}
            for step in self._steps(ident)[:6]
        ]  # fmt: skip
        return PlanView(
            execution_id=ident, name="patch web tier", plan_hash="ab" * 32, environment="prod",
            procedure=None, procedure_version=None, procedure_digest=None,
            plan={"name": "patch web tier", "steps": steps},
        )  # fmt: skip

    def _number(self, ident: str) -> int:
        for number in range(min(self.count, 100)):
            if execution_id(number) == ident:
                return number
        raise not_found("execution")

    def _steps(self, ident: str) -> list[StepSummary]:
        number = self._number(ident)
        one = summary(number)
        begin = one.started_at or one.created_at
        if number == 2:
            return many(5_000, begin)
        if one.status == "failed":
            return deployment(begin)
        if number == 0:
            return roll_out(begin, NOW)
        waiting = one.started_at is None
        return [
            step if not waiting
            else step.model_copy(update={"status": "pending", "started_at": None, "attempt": 0})
            for step in roll_out(begin, NOW) if not waiting or step.parent is None
        ]  # fmt: skip

    def _events(self, ident: str) -> list[Any]:
        begin = summary(self._number(ident)).created_at + timedelta(seconds=2)
        return [] if self._number(ident) == 2 else events_of(ident, self._steps(ident), begin)


def _matches(one: ExecutionSummary, filters: ListFilters) -> bool:
    return (
        (not filters.status or one.status == filters.status)
        and filters.text.lower() in (one.name or "").lower()
        and (not filters.actor or one.actor == filters.actor)
    )
