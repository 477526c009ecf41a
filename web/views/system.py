"""Locks and executors as their templates show them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reading.models.executors import DomainQueue, ExecutorList, ExecutorView
from reading.models.locks import LockList, LockParty, LockView
from web.statuses import Look
from web.views.looks import ALIVE, GONE
from web.wording import counted, duration, number


@dataclass(frozen=True, slots=True)
class Party:
    """Who holds an asset or waits for it."""

    name: str
    href: str | None
    step: str | None
    since: datetime | None


@dataclass(frozen=True, slots=True)
class LockRow:
    """One asset."""

    asset: str
    holder: Party | None
    token: int | None
    waiting: list[Party]


@dataclass(frozen=True, slots=True)
class Locks:
    """The page of the locks."""

    rows: list[LockRow]
    text: str
    shown: str
    waited: int
    total: int
    as_of: datetime


@dataclass(frozen=True, slots=True)
class QueueRow:
    """The commands of one domain and lane."""

    queue: DomainQueue
    look: Look
    lag: str
    oldest: str


@dataclass(frozen=True, slots=True)
class ExecutorRow:
    """One executor process."""

    executor: ExecutorView
    look: Look
    domains: str
    partitions: str
    oldest: str


@dataclass(frozen=True, slots=True)
class Executors:
    """The page of the executors."""

    rows: list[ExecutorRow]
    queues: list[QueueRow]
    problems: list[QueueRow]
    broker_problem: str | None
    alive: int
    as_of: datetime


def locks(found: LockList, text: str) -> Locks:
    """The page of these locks, those that somebody waits for at the top."""
    matching = [one for one in found.locks if _has(one, text.lower())]
    matching.sort(key=lambda one: (-len(one.waiting), one.asset))
    waited = sum(1 for one in found.locks if one.waiting)
    return Locks(
        rows=[_lock(one) for one in matching],
        text=text,
        shown=f"{number(len(matching))} of {counted(found.total, 'locked asset')}",
        waited=waited,
        total=found.total,
        as_of=found.as_of,
    )


def executors(found: ExecutorList) -> Executors:
    """The page of these executors, what has a problem at the top."""
    queues = sorted((_queue(one) for one in found.queues), key=_queue_order)
    rows = sorted(found.executors, key=lambda one: (one.alive, one.instance))
    return Executors(
        rows=[_executor(one) for one in rows],
        queues=queues,
        problems=[one for one in queues if one.queue.problem],
        broker_problem=found.broker_problem,
        alive=sum(1 for one in found.executors if one.alive),
        as_of=found.as_of,
    )


def _has(lock: LockView, text: str) -> bool:
    parties = [*([lock.holder] if lock.holder else []), *lock.waiting]
    return text in lock.asset.lower() or any(text in (one.name or "").lower() for one in parties)


def _lock(lock: LockView) -> LockRow:
    return LockRow(
        asset=lock.asset,
        holder=None if lock.holder is None else _party(lock.holder),
        token=lock.fencing_token,
        waiting=[_party(one) for one in lock.waiting],
    )


def _party(party: LockParty) -> Party:
    if party.execution_id is None:
        return Party("an execution that you may not read", None, None, party.since)
    return Party(
        party.name or "plan without a name",
        f"/executions/{party.execution_id}",
        party.step,
        party.since,
    )


def _queue(queue: DomainQueue) -> QueueRow:
    if queue.problem:
        look = Look("fail", "attention", "Not served")
    elif queue.queued and queue.oldest_queued_seconds and queue.oldest_queued_seconds > 60:
        look = Look("person", "clock", "Behind")
    else:
        look = Look("ok", "check", "Served")
    lag = "not known" if queue.lag is None else number(queue.lag)
    return QueueRow(queue, look, lag, duration(queue.oldest_queued_seconds))


def _queue_order(row: QueueRow) -> tuple[bool, bool, str, str]:
    calm = row.look.tone == "ok"
    return not row.queue.problem, calm, row.queue.domain, row.queue.lane


def _executor(one: ExecutorView) -> ExecutorRow:
    served = sum(len(assignment.partitions) for assignment in one.assignments)
    return ExecutorRow(
        executor=one,
        look=ALIVE if one.alive else GONE,
        domains=", ".join(one.domains) or "none",
        partitions=number(served),
        oldest=duration(one.oldest_claim_seconds),
    )
