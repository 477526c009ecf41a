"""Believable dead letters, schedules, triggers, locks, executors and figures."""

from __future__ import annotations

import base64
import json
import random
from datetime import datetime, timedelta
from typing import Any, Final

from api.problems import Problem
from reading import tools
from reading.models.dead_letters import (
    Content,
    DeadLetter,
    DeadLetterCounts,
    DeadLetterGroup,
    DeadLetterPage,
    DeadLetterSummary,
    LetterHeader,
)
from reading.models.executors import Assignment, DomainQueue, ExecutorList, ExecutorView
from reading.models.health import ComponentHealth, SystemHealth
from reading.models.locks import LockList, LockParty, LockView
from reading.models.starters import (
    QueuedMoment,
    ScheduleList,
    ScheduleOutcome,
    ScheduleRun,
    ScheduleView,
    TriggerError,
    TriggerList,
    TriggerOutcome,
    TriggerView,
)
from reading.models.statistics import Figures, Now, Point, Statistics
from reading.models.tools import ToolDetail, ToolList
from tests.browser.believable import HOSTILE, NOW, execution_id
from toolmeta.registry import load
from web.views.dead_letters import LetterFilters
from web.views.redriving import Redriven

_FAULTS: Final = (
    ("execution.requests.dlq", "invalid_json", "decode",
     "byte 17: expected a comma or a closing brace"),
    ("execution.steps.network.dlq", "retries_exhausted", "execute",
     "ping web-31: no answer after 3 attempts"),
    ("execution.events.dlq", "store_failed", "store",
     "value too long for type character varying(100): column name"),
    ("execution.requests.dlq", None, "decode", HOSTILE),
)  # fmt: skip


def letter(number: int) -> DeadLetter:
    """One dead letter; those that begin at 3 are hostile, and their value is no text."""
    topic, error, stage, message = _FAULTS[number % len(_FAULTS)]
    value = json.dumps({"name": "disk report", "steps": [{"tool": "df", "host": "web-31"}],
                        "actor": "ci@acme", "note": HOSTILE})  # fmt: skip
    content = Content(encoding="text", text=value, bytes=len(value.encode()), complete=True)
    if number % 4 == 3:
        raw = bytes(range(256)) + b"\xff" * 40
        content = Content(encoding="base64", text=base64.b64encode(raw).decode(), bytes=len(raw),
                          complete=False)  # fmt: skip
    return DeadLetter(
        topic=topic, partition=number % 6, offset=1200 + number,
        at=NOW - timedelta(minutes=17 * number), error_class=error, error_message=message,
        stage=stage, source_topic=topic.removesuffix(".dlq"), source_partition=number % 6,
        source_offset=88_120 + number, execution_id=execution_id(number) if number % 3 else None,
        key_bytes=24, value_bytes=content.bytes,
        key=Content(encoding="text", text="acme/01935a00", bytes=13, complete=True), value=content,
        headers=[LetterHeader(name="ce_type", value="runstream.execution.request.v1"),
                 LetterHeader(name="ce_time", value=NOW.isoformat()),
                 LetterHeader(name="runstream-signature", value="eyJhbGciOiJFZERT." + "x" * 120),
                 LetterHeader(name=HOSTILE, value=None)],
        redrive="rerun" if error == "retries_exhausted" else "record",
    )  # fmt: skip


class BelievableLetters:
    """Dead letters, and what redrives them: those of the hostile kind are refused."""

    def __init__(self, count: int = 30) -> None:
        """With so many dead letters."""
        self.count = count
        self.redriven: list[int] = []

    def _matching(self, filters: LetterFilters) -> list[DeadLetter]:
        every = [letter(number) for number in range(self.count)]
        found = [one for one in every if filters.topic in ("", one.topic)]
        return [one for one in found if filters.error_class in ("", one.error_class)]

    def page(self, filters: LetterFilters, after: str | None, limit: int) -> DeadLetterPage:
        """The first that match."""
        names = DeadLetterSummary.model_fields
        found = [DeadLetterSummary(**{name: getattr(one, name) for name in names})
                 for one in self._matching(filters)]  # fmt: skip
        return DeadLetterPage(letters=found[:limit], next="more" if len(found) > limit else None)

    def counts(self, filters: LetterFilters) -> DeadLetterCounts:
        """Those of the range."""
        chance = random.Random(5)
        groups = []
        for topic, error, _, _ in _FAULTS if self.count else ():
            series = [chance.choice((0, 0, 0, 1, 2, 7)) for _ in range(filters.spans)]
            groups.append(DeadLetterGroup(topic=topic, error_class=error, count=sum(series),
                                          first_at=NOW - filters.length, last_at=NOW,
                                          series=series))  # fmt: skip
        return DeadLetterCounts(
            since=NOW - filters.length, until=NOW, span_seconds=3600,
            total=sum(one.count for one in groups), groups=groups,
        )  # fmt: skip

    def one(self, topic: str, partition: int, offset: int) -> DeadLetter | None:
        """One of them."""
        found = letter(offset - 1200)
        return found if (found.topic, found.partition) == (topic, partition) else None

    async def redrive(self, letters: list[DeadLetterSummary]) -> list[Redriven]:
        """Redrive what is not hostile."""
        self.redriven += [one.offset for one in letters]
        why = f"it was redriven 5 times already: {HOSTILE}"
        return [Redriven(one, why if one.error_class is None else None) for one in letters]


def _moment(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def schedule(name: str, status: Any, when: str, **more: Any) -> ScheduleView:
    """One schedule; what is given replaces what it would have."""
    chance = random.Random(name)
    outcomes = ("completed", "completed", "completed", "failed", "skipped")
    values: dict[str, Any] = dict(
        name=name, tenant="acme", status=status, problem=None, description=None, procedure=name,
        version=None, when=when, timezone="Europe/Berlin", paused=status == "paused",
        pause_reason=None, applied_by="platform@acme", signed=True, applied_at=_moment(-60_000),
        next=[_moment(210 + 1440 * n) for n in range(0 if status in ("paused", "unusable") else 5)],
        running=[], queued=[], backfills=[],
        history=[ScheduleOutcome(moment=_moment(-1230 - 1440 * n), until=None, kind="moment",
                                 outcome=chance.choice(outcomes), at=_moment(-1225 - 1440 * n),
                                 execution_id=execution_id(n), message=None) for n in range(8)],
        definition={"procedure": name, "cron": when.rsplit(" ", 1)[0], "timezone": "Europe/Berlin"},
    )  # fmt: skip
    return ScheduleView(**{**values, **more})


SCHEDULES: Final = [
    schedule("backup", "running", "30 2 * * * Europe/Berlin",
             description="Every database, each night",
             running=[ScheduleRun(execution_id=execution_id(2), moment=_moment(-3), kind="moment",
                                  started_at=_moment(-3))],
             queued=[QueuedMoment(moment=_moment(-1), kind="moment")]),
    schedule("disk-report", "waiting", "*/15 * * * * UTC"),
    schedule("renew-certs", "waiting", "0 6 * * 1 Europe/Berlin"),
    schedule("patch-web", "paused", "0 3 * * 0 Europe/Berlin", pause_reason="freeze until Monday"),
    schedule("old-report", "unusable", "61 * * * * UTC", problem="cron: minute 61 is beyond 59"),
    schedule("hostile", "waiting", "every 60 s", description=HOSTILE, applied_by="intern@acme",
             definition={"note": HOSTILE}),
]  # fmt: skip


def trigger(name: str, status: Any, topic: str, **more: Any) -> TriggerView:
    """One trigger."""
    values: dict[str, Any] = dict(
        name=name, tenant="acme", status=status, description=None, topic=topic,
        procedure="restart-workers", version="2", pause_reason=None, applied_by="platform@acme",
        signed=True, applied_at=_moment(-9000),
        counts={"started": 214, "repeated": 31, "limited": 2}, last_error=None,
        history=[TriggerOutcome(at=_moment(-9 - 60 * n), what=("started", "repeated")[n % 2],
                                cause=f"{topic} 2:{88_201 - n}", count=1 + n % 3,
                                execution_id=None if n % 2 else execution_id(n)) for n in range(6)],
        definition={"topic": topic, "when": "value.severity == 'critical'",
                    "procedure": "restart-workers"},
    )  # fmt: skip
    return TriggerView(**{**values, **more})


TRIGGERS: Final = [
    trigger("on-alert", "active", "alerts.prometheus", description="Restarts what an alert names"),
    trigger("on-upload", "active", "files.uploaded", last_error=TriggerError(
        at=_moment(-12), field="inputs.path", error=f"no such key: path {HOSTILE}",
        record="files.uploaded 0:311")),
    trigger("on-ticket", "paused", "tickets", pause_reason="tool of the help desk is replaced"),
    trigger("on-deploy", "topic missing", "deploys", counts={}, history=[]),
]  # fmt: skip


class BelievableStarters:
    """Schedules and triggers."""

    def __init__(self, *, empty: bool = False) -> None:
        """With some, unless it is empty."""
        self.empty = empty
        self.sent: list[tuple[str, str, str, str | None]] = []

    async def send(self, kind: str, action: str, name: str, reason: str | None) -> bool:
        """Keep the command; the one of a name is refused."""
        if name == "old-report":
            raise Problem(403, "forbidden", f"no rule allows it {HOSTILE}")
        self.sent.append((kind, action, name, reason))
        return True

    def schedules(self) -> ScheduleList:
        """All of them."""
        return ScheduleList(schedules=[] if self.empty else SCHEDULES, as_of=NOW)

    def schedule(self, name: str) -> ScheduleView | None:
        """One of them."""
        return next((one for one in SCHEDULES if one.name == name), None)

    def triggers(self) -> TriggerList:
        """All of them."""
        return TriggerList(triggers=[] if self.empty else TRIGGERS, as_of=NOW)

    def trigger(self, name: str) -> TriggerView | None:
        """One of them."""
        return next((one for one in TRIGGERS if one.name == name), None)


class CatalogueTools:
    """The tools of the catalogue, as they are."""

    def __init__(self) -> None:
        """Read it once."""
        self.registry = load()

    def every(self) -> ToolList:
        """All of them."""
        return tools.listing(self.registry)

    def one(self, name: str) -> ToolDetail | None:
        """One of them."""
        return tools.one(self.registry, name)


def _party(number: int, name: str | None, step: str, minutes: float) -> LockParty:
    ident = None if name is None else execution_id(number)
    return LockParty(execution_id=ident, name=name, step=step, since=_moment(-minutes))


LOCKS: Final = [
    LockView(asset="db-primary", holder=_party(3, "fail over primary", "promote", 14),
             fencing_token=9_114, waiting=[_party(1, "rotate database credentials",
             "new-password", 9), _party(4, "restart workers", "restart", 3),
             _party(5, None, "x", 1)]),
    LockView(asset="web-07", holder=_party(0, "patch web tier", "upgrade", 2), fencing_token=9_120,
             waiting=[_party(4, "restart workers", "restart", 1)]),
    LockView(asset="web-08", holder=_party(0, "patch web tier", "upgrade", 2), fencing_token=9_121,
             waiting=[]),
    LockView(asset=HOSTILE, holder=None, fencing_token=None,
             waiting=[_party(15, HOSTILE, HOSTILE, 1)]),
]  # fmt: skip


def _executor(number: int, *domains: str, alive: bool = True) -> ExecutorView:
    return ExecutorView(
        instance=f"executor-{number}-7c9d{number}f", host=f"runner-{number:02}.acme.example",
        alive=alive, domains=list(domains), running=number % 4, oldest_claim_seconds=12.0 * number,
        assignments=[Assignment(domain=one, lane="bulk", partitions=[0, 1, 2]) for one in domains],
    )  # fmt: skip


def _queue(domain: str, lane: Any, executors: int, lag: int | None, **more: Any) -> DomainQueue:
    values: dict[str, Any] = dict(
        domain=domain, lane=lane, topic=f"execution.steps.{domain}.{lane}", executors=executors,
        lag=lag, queued=lag or 0, running=3, oldest_queued_seconds=None, problem=None,
    )  # fmt: skip
    return DomainQueue(**{**values, **more})


EXECUTORS: Final = [
    _executor(1, "automation", "network"), _executor(2, "automation", "asset"),
    _executor(3, "automation"),
    _executor(4, "communication", alive=False),
]  # fmt: skip
QUEUES: Final = [
    _queue("automation", "bulk", 3, 12, oldest_queued_seconds=4.0),
    _queue("automation", "immediate", 3, 0),
    _queue("network", "bulk", 1, 340, oldest_queued_seconds=181.0),
    _queue("asset", "bulk", 1, None),
    _queue("communication", "bulk", 0, 21, oldest_queued_seconds=2_400.0,
           problem="No executor serves `communication` since 14:02; 21 steps wait."),
]  # fmt: skip


_PROCEDURE_RATES: Final = (
    ("deploy-api", 0.98), ("patch-web", 0.91), ("disk-report", 1.0), ("backup", 0.6),
    (HOSTILE, 0.0), (None, 1.0),
)  # fmt: skip
_TOOL_RATES: Final = (
    ("df", 0.999), ("systemctl", 0.97), ("ping", 0.78), ("dig", 1.0), ("apt", 0.9),
)  # fmt: skip


class BelievableSystem:
    """Locks, executors, figures and health."""

    def __init__(self, *, empty: bool = False) -> None:
        """With some of everything, unless it is empty."""
        self.empty = empty

    def locks(self) -> LockList:
        """Who holds which asset."""
        found = [] if self.empty else LOCKS
        return LockList(locks=found, total=len(found), as_of=NOW)

    def executors(self) -> ExecutorList:
        """Who serves which steps."""
        problem = "Kafka does not answer: see that it runs" if self.empty else None
        found, queues = ([], []) if self.empty else (EXECUTORS, QUEUES)
        return ExecutorList(executors=found, queues=queues, as_of=NOW, broker_problem=problem)

    def statistics(self, length: timedelta, points: int) -> Statistics:
        """Figures of the time until now."""
        chance = random.Random(points)
        series = [] if self.empty else [_point(chance, length, points, n) for n in range(points)]
        return Statistics(
            since=NOW - length, until=NOW,
            now=Now(at=NOW, active={"running": 3, "pending_approval": 4, "needs_attention": 1},
                    late=1, queued_attempts=373, running_attempts=11,
                    oldest_queued_seconds=2_400.0),
            executions=_figures(None, 0 if self.empty else 1_284, 0.947),
            tools=[] if self.empty else [
                _figures(name, 900 - 170 * place, rate)
                for place, (name, rate) in enumerate(_TOOL_RATES)
            ],
            procedures=[] if self.empty else [
                _figures(name, 400 - 60 * place, rate)
                for place, (name, rate) in enumerate(_PROCEDURE_RATES)
            ],
            series=series,
        )  # fmt: skip

    def health(self) -> SystemHealth | None:
        """Whether the parts answer."""
        parts: tuple[tuple[str, Any, str], ...] = (
            ("kafka", "healthy", "3 brokers answer"),
            ("postgres", "healthy", "it answers in 2 ms"),
            ("sink", "degraded", "it is 41 s behind: see that it runs"),
            ("executors/communication", "unhealthy",
             "no executor serves it: runstream executor --domain communication"),
        )  # fmt: skip
        return SystemHealth(status="unhealthy", version="1.0", at=NOW, components=[
            ComponentHealth(name=name, status=status, message=text, figures={})
            for name, status, text in parts])  # fmt: skip


def _figures(name: str | None, count: int, rate: float) -> Figures:
    return Figures(
        name=name, count=count, succeeded=int(count * rate), success_rate=rate if count else None,
        avg_seconds=14.0, min_seconds=0.2, max_seconds=4_000.0, p50_seconds=6.2 if count else None,
        p95_seconds=88.0 if count else None, p99_seconds=611.0 if count else None,
        avg_queue_seconds=0.4, max_queue_seconds=31.0, late=29 if count else 0,
        sla_compliance=0.9774 if count else None,
    )  # fmt: skip


def _point(chance: random.Random, length: timedelta, points: int, number: int) -> Point:
    begin = NOW - length + length / points * number
    busy = chance.random() > 0.1
    completed = chance.randint(8, 40) if busy else 0
    failed = chance.choice((0, 0, 0, 1, 4)) if busy else 0
    return Point(
        begin=begin, end=begin + length / points, ended=completed + failed, completed=completed,
        failed=failed, other=chance.choice((0, 0, 2)) if busy else 0, late=0, success_rate=None,
        p50_seconds=chance.uniform(4, 9) if busy else None,
        p95_seconds=chance.uniform(40, 110) if busy else None,
        avg_queue_seconds=chance.uniform(0.1, 1.4) if busy else None,
    )  # fmt: skip
