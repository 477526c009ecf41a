"""The state store of one partition: living executions, and what is kept of ended ones.

Living executions are in memory. Of an ended one only its de-duplication entry is kept, and where a
rerun may start from it also its changelog records; both lie in a temporary SQLite database that
the operating system drops with the process, as Kafka Streams keeps its stores on local disk. The
changelog topic is what lasts: everything here is built from it again after a restart.

One rule for de-duplication, before and after a restart: of the executions that were accepted for
an idempotency key, the one with the highest `run` counts.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from processors.router.changelog import (
    Change,
    ChangelogRecord,
    all_parts,
    ended_records,
    entry_fields,
    entry_of,
    is_entry,
    restore_execution,
    tombstones,
)
from processors.router.entries import DedupEntry, dedup_entry
from processors.router.quotas import UNSIGNED, Usage
from processors.router.state import Execution
from streams.actors import ANONYMOUS
from streams.lifecycle import REPEATABLE, RERUNNABLE

_SCHEMA: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -2048;
CREATE TABLE entry (
    id TEXT PRIMARY KEY, key BLOB, run INTEGER NOT NULL, ended_at REAL NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX entry_by_key ON entry (key, run);
CREATE INDEX entry_by_end ON entry (ended_at);
CREATE TABLE part (
    id TEXT, name TEXT, value BLOB NOT NULL, PRIMARY KEY (id, name)
) WITHOUT ROWID;
"""
#: How many entries one call of `expire` drops, so that it never takes long.
EXPIRE_BATCH: Final = 200


def _database() -> sqlite3.Connection:
    # An empty name is a temporary file that belongs to this connection. One transaction is opened
    # by the first change and never committed: nobody else reads, and nothing outlives the process.
    connection = sqlite3.connect("", check_same_thread=False)
    connection.executescript(_SCHEMA)
    return connection


def _key(tenant: str, idempotency_key: str) -> bytes:
    return hashlib.blake2b(f"{tenant}:{idempotency_key}".encode(), digest_size=16).digest()


def _tenants(execution: Execution) -> list[str]:
    """Whose quotas an execution counts against."""
    return [execution.tenant] if execution.actor != ANONYMOUS else [execution.tenant, UNSIGNED]


class ChangelogError(Exception):
    """The changelog holds what this version cannot read; going on would lose executions."""


@dataclass(slots=True)
class StateStore:
    """What one partition remembers; entries for `remember_seconds` after the end."""

    remember_seconds: float
    living: dict[str, Execution] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    #: (tenant, idempotency key) -> id, of living executions.
    _keys: dict[tuple[str, str], str] = field(default_factory=dict)
    _ended: sqlite3.Connection = field(default_factory=_database)

    def put(self, execution: Execution) -> None:
        """Remember a living execution."""
        self.living[execution.id] = execution
        for tenant in _tenants(execution):
            self.usage.accepted(tenant, execution.plan.size, execution.accepted_at)
        key = (execution.tenant, execution.idempotency_key)
        known = self.living.get(self._keys.get(key, ""))
        if known is None or known.run <= execution.run:
            self._keys[key] = execution.id

    def put_entry(self, entry: DedupEntry) -> None:
        """Remember an ended execution or a rejected id; replaces an earlier entry of the id."""
        key = None if entry.idempotency_key is None else _key(entry.tenant, entry.idempotency_key)
        body = orjson.dumps(entry_fields(entry))
        self._ended.execute(
            "INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?)",
            (entry.id, key, entry.run, entry.ended_at, body),
        )

    def end(self, execution: Execution, change: Change) -> Iterator[ChangelogRecord]:
        """Keep of an execution that has ended what may still be asked for; gives its records."""
        del self.living[execution.id]
        for tenant in _tenants(execution):
            self.usage.ended(tenant)
        key = (execution.tenant, execution.idempotency_key)
        if self._keys.get(key) == execution.id:
            del self._keys[key]
        entry = dedup_entry(execution)
        self.put_entry(entry)
        if execution.status in RERUNNABLE:
            self.keep_parts(execution.id, all_parts(execution))
        return ended_records(execution, change, entry)

    def keep_parts(self, execution_id: str, parts: dict[str, bytes]) -> None:
        """Keep the changelog records of an ended execution from which a rerun may start."""
        self._ended.executemany(
            "INSERT OR REPLACE INTO part VALUES (?, ?, ?)",
            ((execution_id, name, value) for name, value in parts.items()),
        )

    def id_in_use(self, execution_id: str) -> bool:
        """Whether the id belongs to an execution or a rejection already."""
        return execution_id in self.living or self.entry(execution_id) is not None

    def forget(self, execution_id: str) -> None:
        """Drop everything that is kept of an ended execution."""
        self._ended.execute("DELETE FROM entry WHERE id = ?", (execution_id,))
        self._ended.execute("DELETE FROM part WHERE id = ?", (execution_id,))

    def entry(self, execution_id: str) -> DedupEntry | None:
        """What is kept of an ended execution."""
        return self._one("SELECT body FROM entry WHERE id = ?", execution_id)

    def ended(self, execution_id: str) -> Execution | None:
        """An ended execution as it was, where a rerun may start from it."""
        rows = self._ended.execute("SELECT name, value FROM part WHERE id = ?", (execution_id,))
        parts = dict(rows.fetchall())
        entry = self.entry(execution_id)
        if not parts or entry is None:
            return None
        execution = restore_execution(None, parts)
        execution.status, execution.seq, execution.chain = entry.status, entry.seq, entry.chain
        execution.ended_at = entry.ended_at
        return execution

    def latest(self, tenant: str, idempotency_key: str) -> Execution | DedupEntry | None:
        """The execution that was accepted last for this idempotency key, while it is remembered."""
        living = self._keys.get((tenant, idempotency_key))
        if living is not None:
            return self.living[living]
        return self._one(
            "SELECT body FROM entry WHERE key = ? ORDER BY run DESC LIMIT 1",
            _key(tenant, idempotency_key),
        )

    def repeated(
        self, known: Execution | DedupEntry | None, now: float
    ) -> tuple[Execution | DedupEntry | None, int]:
        """The execution that a key repeats whose latest one is `known`, and a new one's `run`.

        A failed or cancelled one may be run again; of what ended longer ago than is remembered
        nothing is known any more. `now` is in Unix seconds.
        """
        if known is None:
            return None, 1
        again = known.status in REPEATABLE
        old = known.ended_at is not None and now - known.ended_at >= self.remember_seconds
        return (None if again or old else known), known.run + 1

    def count_ended(self) -> None:
        """Count what ended in the last hour that the changelog knows of; after a restart only."""
        query = "SELECT body FROM entry WHERE key IS NOT NULL AND ended_at > ? - 3600"
        newest = self._ended.execute("SELECT max(ended_at) FROM entry").fetchone()[0]
        for (body,) in self._ended.execute(query, (newest or 0.0,)):
            entry = entry_of(orjson.loads(body))
            # Of a plan's own steps; items and compensations have names of their own form.
            steps = sum("[" not in name and "." not in name for name in entry.steps)
            self.usage.restored(entry.tenant, steps, entry.id, entry.ended_at)

    def expire(self, now: float) -> tuple[list[ChangelogRecord], bool]:
        """Drop what ended longer ago than is remembered, a bounded number of entries.

        Returns the tombstones to write, and whether there may be more to drop.
        """
        self.usage.expire(now)
        limit = now - self.remember_seconds
        ids = self._ended.execute(
            "SELECT id FROM entry WHERE ended_at < ? LIMIT ?", (limit, EXPIRE_BATCH)
        ).fetchall()
        found: list[ChangelogRecord] = []
        for (execution_id,) in ids:
            parts = self._ended.execute("SELECT name FROM part WHERE id = ?", (execution_id,))
            found.append(ChangelogRecord(execution_id.encode(), None))
            found.extend(tombstones(execution_id, [name for (name,) in parts]))
            self.forget(execution_id)
        return found, len(ids) == EXPIRE_BATCH

    def _one(self, query: str, argument: Any) -> DedupEntry | None:
        row = self._ended.execute(query, (argument,)).fetchone()
        return None if row is None else entry_of(orjson.loads(row[0]))


@dataclass(slots=True)
class Restorer:
    """Fills an empty store with the records of a changelog partition, oldest first.

    Ended executions go to the database as they are read, so that memory holds the living only.
    """

    store: StateStore
    _heads: dict[str, bytes] = field(default_factory=dict)
    _parts: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def add(self, key: bytes, value: bytes | None) -> None:
        """Take one record; the latest of a key counts."""
        execution_id, _, part = key.decode().partition("/")
        if part:
            self._part(execution_id, part, value)
        elif value is None:
            self._heads.pop(execution_id, None)
            self._parts.pop(execution_id, None)
            self.store.forget(execution_id)
        elif is_entry(value):
            self._heads.pop(execution_id, None)
            entry = entry_of(orjson.loads(value)["entry"])
            self.store.put_entry(entry)
            parts = self._parts.pop(execution_id, None)
            if parts and entry.status in RERUNNABLE:
                self.store.keep_parts(execution_id, parts)
        else:
            self._heads[execution_id] = value

    def _part(self, execution_id: str, part: str, value: bytes | None) -> None:
        parts = self._parts.get(execution_id)
        if value is not None:
            if parts is None:
                parts = self._parts[execution_id] = {}
            parts[part] = value
        elif parts is not None:
            parts.pop(part, None)
            if not parts:
                del self._parts[execution_id]

    def finish(self) -> None:
        """The changelog is read: put the living executions together.

        A part may come after the entry of its execution, if both were written in one batch. Raises
        ChangelogError for records that another version wrote.
        """
        for execution_id, head in self._heads.items():
            try:
                execution = restore_execution(head, self._parts.pop(execution_id, {}))
            except (KeyError, TypeError, ValueError) as error:
                raise ChangelogError(
                    f"the records of {execution_id} in the changelog are not of this version "
                    f"({type(error).__name__}); see docs/operations.md, Upgrading"
                ) from error
            self.store.put(execution)
        for execution_id, parts in self._parts.items():
            entry = self.store.entry(execution_id)
            if entry is not None and entry.status in RERUNNABLE:
                self.store.keep_parts(execution_id, parts)
        self._heads.clear()
        self._parts.clear()
        self.store.count_ended()
