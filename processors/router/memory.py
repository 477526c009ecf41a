"""Memory: the executions of one partition, what is kept of ended ones, and their keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from processors.router import changelog
from processors.router.state import ENDED, REPEATABLE, Execution, Receipt


@dataclass(slots=True)
class Memory:
    """Everything that a partition remembers, for `remember_seconds` after an execution's end."""

    remember_seconds: float
    executions: dict[str, Execution] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    #: (tenant, idempotency key) → execution id.
    keys: dict[tuple[str, str], str] = field(default_factory=dict)

    def restore(self, restorer: changelog.Restorer) -> Iterator[Execution]:
        """Take over what the changelog held; yields the executions that are kept whole."""
        for kept in restorer.receipts():
            self.keep(kept)
        for execution in restorer.executions():
            self.add(execution)
            yield execution

    def add(self, execution: Execution) -> None:
        """Remember an execution; the latest one of an idempotency key counts."""
        self.executions[execution.id] = execution
        key = (execution.tenant, execution.idempotency_key)
        known = self.executions.get(self.keys.get(key, ""))
        if known is None or known.accepted_at <= execution.accepted_at:
            self.keys[key] = execution.id

    def keep(self, kept: Receipt) -> None:
        """Remember a receipt."""
        self.receipts[kept.id] = kept
        if kept.idempotency_key is not None:
            self.keys.setdefault((kept.tenant, kept.idempotency_key), kept.id)

    def retire(self, execution: Execution) -> None:
        """Keep of an ended execution only what may still be asked for."""
        if execution.status not in changelog.RERUNNABLE:
            del self.executions[execution.id]
            self.keep(changelog.receipt(execution))

    def taken(self, execution_id: str | None) -> bool:
        """Whether the id belongs to an execution or a rejection already."""
        return execution_id in self.executions or execution_id in self.receipts

    def repeated(self, tenant: str, key: str, now: float) -> Execution | Receipt | None:
        """The execution that this key repeats; a failed or cancelled one may be run again."""
        execution_id = self.keys.get((tenant, key))
        if execution_id is None:
            return None
        known = self.executions.get(execution_id) or self.receipts.get(execution_id)
        if known is None or known.status in REPEATABLE:
            return None
        since = known.ended_at or now
        return known if now - since < self.remember_seconds else None

    def forget(self, now: float) -> Iterator[changelog.Piece]:
        """Drop what ended longer ago than is remembered; yields the tombstones to write."""
        limit = now - self.remember_seconds
        for kept in [kept for kept in self.receipts.values() if kept.ended_at < limit]:
            del self.receipts[kept.id]
            if kept.idempotency_key is not None:
                self._drop(kept.tenant, kept.idempotency_key, kept.id)
            yield from changelog.tombstones(kept.id, ())
        ended = [e for e in self.executions.values() if e.status in ENDED]
        for execution in [e for e in ended if (e.ended_at or now) < limit]:
            del self.executions[execution.id]
            self._drop(execution.tenant, execution.idempotency_key, execution.id)
            yield from changelog.tombstones(execution.id, execution.steps)

    def _drop(self, tenant: str, key: str, execution_id: str) -> None:
        if self.keys.get((tenant, key)) == execution_id:
            del self.keys[tenant, key]
