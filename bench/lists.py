"""`python -m bench.lists`: lists and statistics over a database of 10 million events.

Fills a database of its own with rows as the sink writes them, spread over 90 days, and tells how
long each query takes: the median of five, warm, and the plan's node that reads the table.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from devstack.postgres import PostgresServer
from reading.executions import Wanted, rows
from reading.figures import EVERY, figures
from reading.models.statistics import By
from sinks.migrate import migrate

#: Events of an execution of three steps: accepted, started, the end, and four of each step.
EVENTS_EACH = 15
BY: tuple[By, ...] = ("tool", "procedure")
_EXECUTIONS = """
INSERT INTO execution.executions
    (execution_id, tenant, name, actor, environment, status, procedure, execution_mode, sla_class,
     plan, sla_seconds, total_steps, created_at, started_at, completed_at, duration_seconds,
     error_message, updated_at, last_seq)
SELECT (lpad(to_hex((extract(epoch FROM t) * 1000)::bigint), 12, '0') || '8000'
        || '8000' || lpad(to_hex(n), 12, '0'))::uuid,
       'tenant-' || n %% 20, 'plan ' || n %% 500, 'actor-' || n %% 300, 'prod',
       (CASE WHEN n %% 50 = 0 THEN 'failed' ELSE 'completed' END)::execution.execution_status,
       CASE WHEN n %% 2 = 0 THEN 'procedure-' || n %% 200 END, 'background', 'medium',
       jsonb_build_object('name', 'plan', 'steps', jsonb_build_array()), 30, 3, t,
       t + interval '1 second', t + (3 + n %% 30) * interval '1 second', 2 + n %% 30,
       CASE WHEN n %% 50 = 0 THEN 'step b: host-' || n %% 9973 || ' has no route' END, t, 15
FROM generate_series(1, %(count)s) AS n,
     LATERAL (SELECT now() - interval '90 days' + n * interval '90 days' / %(count)s AS t) AS at
"""
_STEPS = """
INSERT INTO execution.execution_steps
    (execution_id, step, tenant, step_index, tool, domain, target, status, attempt, started_at,
     completed_at, duration_seconds, updated_at, last_seq)
SELECT execution_id, s.name, tenant, s.number, 'tool-' || (x.row + s.number) % 60, 'automation',
       'host-' || (x.row * 3 + s.number) % 9973, 'succeeded', 1, started_at, completed_at,
       duration_seconds / 3, completed_at, 14
FROM (SELECT *, row_number() OVER () AS row FROM execution.executions) AS x,
     (VALUES ('a', 0), ('b', 1), ('c', 2)) AS s (name, number)
"""
_ATTEMPTS = """
INSERT INTO execution.attempts
    (execution_id, step, attempt, tenant, tool, domain, target, executor, status, dispatched_at,
     started_at, completed_at, duration_seconds, final, last_seq)
SELECT execution_id, step, 1, tenant, tool, domain, target, 'agent', status,
       started_at - interval '200 ms', started_at, completed_at, duration_seconds, true, 13
FROM execution.execution_steps
"""
_EVENTS = """
INSERT INTO execution.execution_events (event_id, execution_id, seq, event_type, at, tenant, data)
SELECT execution_id || ':' || seq, execution_id, seq, 'step.started', created_at, tenant,
       jsonb_build_object('executor', 'agent')
FROM execution.executions, generate_series(1, 15) AS seq
"""


def main() -> int:
    """Fill, measure, print; 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m bench.lists", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    count = parser.parse_args().events // EVENTS_EACH
    with tempfile.TemporaryDirectory(prefix="runstream-lists-") as folder:
        server = PostgresServer(Path(folder) / "postgres")
        server.start()
        try:
            measure(server.dsn, count)
        finally:
            server.stop()
    return 0


def measure(url: str, count: int) -> None:
    """Fill the database with so many executions and time what is asked of it."""
    migrate(url)
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        began = time.monotonic()
        for text in (_EXECUTIONS, _STEPS, _ATTEMPTS, _EVENTS):
            connection.execute(text, {"count": count} if "%(count)s" in text else None)
        connection.execute("VACUUM ANALYZE")
        print(f"{count:,} executions, {count * EVENTS_EACH:,} events in", end=" ")
        print(f"{time.monotonic() - began:.0f} s")
        now = datetime.now(UTC)
        for name, wanted in lists(now).items():
            timed(f"list {name}", partial(rows, connection, wanted, 20))
        middle = rows(connection, Wanted(until=now - timedelta(days=45)), 1)[0]
        page = str(middle["execution_id"])
        timed("list, a page in the middle", partial(rows, connection, Wanted(), 20, page))
        for days in (1, 7, 90):
            since = now - timedelta(days=days)
            for by in BY:
                ask = partial(figures, connection, by, since, now, EVERY, 30)
                timed(f"stats by {by}, {days} days", ask)


def lists(now: datetime) -> dict[str, Wanted]:
    """Questions of each kind, of what is frequent and of what is rare."""
    return {
        "newest": Wanted(),
        "--tenant": Wanted(tenant="tenant-7"),
        "--status failed": Wanted(statuses=("failed",)),
        "--status paused (none)": Wanted(statuses=("paused",)),
        "--actor": Wanted(actor="actor-77"),
        "--actor (none)": Wanted(actor="nobody"),
        "--procedure": Wanted(procedure="procedure-42"),
        "--asset": Wanted(asset="host-77"),
        "--asset (none)": Wanted(asset="host-x"),
        "--text": Wanted(words="host-77"),
        "--text (none)": Wanted(words="nothing like it"),
        "--late": Wanted(late=True),
        "--late --tenant --status": Wanted(late=True, tenant="tenant-0", statuses=("failed",)),
        "--since 80 d --until 79 d": Wanted(
            since=now - timedelta(days=80), until=now - timedelta(days=79)
        ),
    }


def timed(name: str, ask: Callable[[], list[dict[str, Any]]]) -> None:
    """The median of five times, after one that fills the caches."""
    found = ask()
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - began)
    print(f"{statistics.median(seconds) * 1_000:9.1f} ms  {len(found):4} rows  {name}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
