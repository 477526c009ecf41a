"""The tables that the sink writes: their columns, and how a patch is merged into a row.

All SQL of the sink is made here, from these declarations, so that a column is named in the DDL,
here and in the fold, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class MergeRule(Enum):
    """How a value of a patch is merged into the stored one."""

    #: It identifies the row.
    KEY = "key"
    #: The newer value, where there is one.
    LAST = "COALESCE(excluded.{0}, old.{0})"
    #: The older value, where there is one: the first start stays the start.
    FIRST = "COALESCE(old.{0}, excluded.{0})"
    #: The larger value.
    MOST = "GREATEST(old.{0}, excluded.{0})"
    #: Holds as long as the status: replaced, also by null, together with it.
    STATUS = "CASE WHEN excluded.status IS NULL THEN old.{0} ELSE excluded.{0} END"


@dataclass(frozen=True, slots=True)
class Table:
    """One table: columns in the order in which rows are written, and which of them are JSON."""

    name: str
    columns: dict[str, MergeRule]
    json: frozenset[str] = frozenset()
    #: Column → SQL for a value that a patch cannot hold; `new` is the patch's row.
    inherited: tuple[tuple[str, str], ...] = ()
    #: The number by which a row is newer than the stored one.
    order: str = "last_seq"

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key."""
        return tuple(name for name, meets in self.columns.items() if meets is MergeRule.KEY)

    @property
    def incoming(self) -> str:
        """Statement: make the session's own copy of the table, empty after each commit."""
        return (
            f"CREATE TEMP TABLE incoming_{self.name} (LIKE execution.{self.name}) "
            "ON COMMIT DELETE ROWS"
        )

    @property
    def clear(self) -> str:
        """Statement: empty the session's copy."""
        return f"DELETE FROM incoming_{self.name}"  # noqa: S608

    @property
    def copy(self) -> str:
        """Statement: fill the session's copy from the client."""
        return f"COPY incoming_{self.name} ({', '.join(map(quoted, self.columns))}) FROM STDIN"

    @property
    def insert(self) -> str:
        """Statement: rows that are there already stay as they are."""
        names = ", ".join(map(quoted, self.columns))
        return (
            f"INSERT INTO execution.{self.name} ({names}) "  # noqa: S608
            f"SELECT {names} FROM incoming_{self.name} ON CONFLICT DO NOTHING"
        )

    @property
    def upsert(self) -> str:
        """Statement: merge; a row whose number (`order`) is the same or larger stays as it is."""
        names = ", ".join(map(quoted, self.columns))
        given = dict(self.inherited)
        values = ", ".join(given.get(name, f"new.{quoted(name)}") for name in self.columns)
        merged = ", ".join(
            f"{quoted(name)} = {meets.value.format(quoted(name))}"
            for name, meets in self.columns.items()
            if meets is not MergeRule.KEY
        )
        return (
            f"INSERT INTO execution.{self.name} AS old ({names}) "  # noqa: S608
            f"SELECT {values} FROM incoming_{self.name} AS new "
            f"ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {merged} "
            f"WHERE excluded.{self.order} > old.{self.order}"
        )


def quoted(name: str) -> str:
    """A column name in quotes, since it may be a keyword of SQL."""
    return f'"{name}"'


def _columns(text: str) -> dict[str, MergeRule]:
    """Read `name` and `name:rule`, separated by blanks; no rule means LAST."""
    pairs = (word.partition(":") for word in text.split())
    return {name: MergeRule[rule.upper() or "LAST"] for name, _, rule in pairs}


EVENTS: Final = Table(
    "execution_events",
    _columns(
        "event_id:key execution_id seq event_type at tenant step attempt data chain signature"
    ),
)
OUTPUT: Final = Table(
    "output",
    _columns(
        "execution_id:key step:key attempt:key stream:key chunk:key byte_offset tenant text at"
    ),
)
DLQ: Final = Table(
    "execution_dlq",
    _columns(
        "topic:key partition:key offset:key at error_class error_message stage source_topic "
        "source_partition source_offset execution_id key key_bytes value value_bytes headers"
    ),
)
EXECUTIONS: Final = Table(
    "executions",
    _columns(
        "execution_id:key tenant:first name actor environment idempotency_key run status "
        "status_reason:status execution_mode sla_class action_class priority approval_level plan "
        "plan_hash timeout_seconds sla_seconds rerun_of procedure procedure_version "
        "procedure_digest started_by_kind started_by started_by_cause conflicts_with "
        "total_steps step_counts compensation_counts "
        "created_at:first queued_at:first started_at:first cancel_requested_at:first completed_at "
        "duration_seconds error_class error_message updated_at last_seq"
    ),
    json=frozenset({"plan", "step_counts", "compensation_counts"}),
)
STEPS: Final = Table(
    "execution_steps",
    _columns(
        "execution_id:key step:key tenant:first step_index parent undoes tool domain description "
        "depends_on target status status_reason:status waiting_until:status "
        "cancel_requested_at:status attempt:most executor "
        "percent progress_message input_data output_data started_at:first completed_at:status "
        "duration_seconds:status error_class:status error_message:status updated_at last_seq"
    ),
    json=frozenset({"depends_on", "input_data", "output_data"}),
    # The plan of a `for_each` step may have come in an earlier batch than its items.
    inherited=tuple(
        (
            column,
            f"COALESCE(new.{column}, CASE WHEN new.parent IS NOT NULL THEN ("  # noqa: S608
            f"SELECT origin.{column} FROM execution.execution_steps AS origin "
            "WHERE origin.execution_id = new.execution_id AND origin.step = new.parent) END)",
        )
        for column in ("tool", "step_index")
    ),
)
ATTEMPTS: Final = Table(
    "attempts",
    _columns(
        "execution_id:key step:key attempt:key tenant:first tool domain target executor status "
        "dispatched_at expires_at started_at completed_at duration_seconds output stdout stderr "
        "error_class error_message transient final evidence last_seq"
    ),
    json=frozenset({"output", "stdout", "stderr", "evidence"}),
)
QUEUE: Final = Table(
    "execution_queue",
    _columns(
        "execution_id:key step:key attempt:key tenant:first tool domain topic target status "
        "enqueued_at expires_at claimed_at executor lease_seconds last_seq"
    ),
)
APPROVALS: Final = Table(
    "approvals",
    _columns(
        "execution_id:key tenant:first state approval_level plan_hash requested_by requested_at "
        "expires_at decided_by decided_at reason last_seq"
    ),
)
LOCKS: Final = Table(
    "execution_locks",
    _columns(
        "tenant:key asset:key execution_id step fencing_token acquired_at lease_seconds last_seq"
    ),
    # Event numbers of two executions say nothing about which came first; tokens do.
    order="fencing_token",
)
AUDIT: Final = Table(
    "audit",
    _columns("event_id:key execution_id seq at tenant actor action allowed message data"),
)

#: Everything that the sink writes, its own offsets apart.
TABLES: Final = (
    EVENTS,
    OUTPUT,
    DLQ,
    EXECUTIONS,
    STEPS,
    ATTEMPTS,
    QUEUE,
    APPROVALS,
    LOCKS,
    AUDIT,
)
#: What is derived from the events of one execution.
DERIVED: Final = (EXECUTIONS, STEPS, ATTEMPTS, QUEUE, APPROVALS, LOCKS, AUDIT)
