"""`runstream list` and `stats`: what they find on a real database, and by what they find it."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from console.cli import main
from console.exits import Exit
from sinks.migrate import migrate

Capture = pytest.CaptureFixture[str]

#: Thirty executions, a minute apart, the newest first in `ids`; each has one step and attempt.
ROWS = """
INSERT INTO execution.executions
    (execution_id, tenant, name, actor, environment, status, procedure, started_by, sla_seconds,
     created_at, started_at, completed_at, duration_seconds, error_message, updated_at, last_seq)
SELECT ('01a1f7c1-4180-8a94-9234-0000000000' || lpad(to_hex(n), 2, '0'))::uuid,
       CASE WHEN n % 2 = 0 THEN 'acme' ELSE 'other' END,
       'patch web', CASE WHEN n < 3 THEN 'ann' ELSE 'ci' END, 'dev',
       (CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'completed' END)::execution.execution_status,
       CASE WHEN n % 3 = 0 THEN 'restart-web' END, CASE WHEN n % 9 = 0 THEN 'nightly' END, 10,
       t, t + interval '1 second', t + n * interval '1 second', n - 1,
       CASE WHEN n % 10 = 0 THEN 'web-07: no route to host' END, t, 9
FROM generate_series(1, 30) AS n,
     LATERAL (SELECT now() - (31 - n) * interval '1 minute' AS t) AS at;
INSERT INTO execution.execution_steps
    (execution_id, step, tenant, tool, target, status, updated_at, last_seq)
SELECT execution_id, 'a', tenant, 'df', CASE WHEN last_seq = 9 AND duration_seconds >= 27
       THEN 'web-01' ELSE 'web-02' END, 'succeeded', now(), 8
FROM execution.executions;
INSERT INTO execution.attempts
    (execution_id, step, attempt, tenant, tool, status, dispatched_at, started_at, completed_at,
     duration_seconds, last_seq)
SELECT execution_id, 'a', 1, tenant, CASE WHEN duration_seconds < 10 THEN 'df' ELSE 'uptime' END,
       (CASE WHEN status = 'failed' THEN 'failed' ELSE 'succeeded' END)::execution.step_status,
       created_at, started_at, completed_at, duration_seconds, 8
FROM execution.executions;
"""


@pytest.fixture
def filled(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", database)
    migrate(database)
    with psycopg.connect(database) as connection:
        connection.execute(ROWS)
    return database


def found(capsys: Capture, *arguments: str) -> list[int]:
    """The numbers of the executions that are listed."""
    assert main(["list", "--json", *arguments]) == Exit.OK
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return [int(row["execution_id"][-2:], 16) for row in rows]


@pytest.mark.usefixtures("filled")
def test_each_filter_finds_what_it_says(capsys: Capture) -> None:
    assert found(capsys, "--status", "failed") == [30, 20, 10]
    assert found(capsys, "--actor", "ann") == [2, 1]
    assert found(capsys, "--procedure", "restart-web", "--limit", "2") == [30, 27]
    assert found(capsys, "--started-by", "nightly") == [27, 18, 9]
    assert found(capsys, "--asset", "web-01") == [30, 29, 28]
    assert found(capsys, "--text", "route host") == [30, 20, 10]
    assert found(capsys, "--text", '"no route" -web', "--status", "completed") == []
    assert found(capsys, "--late", "--limit", "1000") == list(range(30, 10, -1))
    assert found(capsys, "--since", "150s") == [30, 29]
    assert found(capsys, "--until", "1700s") == [2, 1]
    assert found(capsys, "--tenant", "acme", "--actor", "ann") == [2]


@pytest.mark.usefixtures("filled")
def test_pages_follow_each_other_without_gap_or_repetition(capsys: Capture) -> None:
    seen: list[int] = []
    after: list[str] = []
    while page := found(capsys, "--limit", "7", *after):
        seen += page
        after = ["--after", f"01a1f7c1-4180-8a94-9234-0000000000{page[-1]:02x}"]
    assert seen == list(range(30, 0, -1))


@pytest.mark.usefixtures("filled")
def test_the_figures_are_those_of_the_reference(capsys: Capture) -> None:
    assert main(["stats", "--json"]) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    tools = {row["name"]: row for row in told["figures"]}
    assert (tools["df"]["count"], tools["uptime"]["count"]) == (10, 20)
    assert tools["df"]["success_rate"] == 0.9
    durations = sorted(range(10))
    for part in (50, 95, 99):
        rank = durations[min(int(part / 100 * len(durations)), len(durations) - 1)]
        assert tools["df"][f"p{part}_seconds"] == rank
    assert tools["df"]["avg_seconds"] == 4.5
    assert (tools["df"]["min_seconds"], tools["df"]["max_seconds"]) == (0, 9)
    assert tools["df"]["avg_queue_seconds"] == 1
    assert main(["stats", "--by", "procedure", "--json"]) == Exit.OK
    rows = json.loads(capsys.readouterr().out)["figures"]
    lines = {(row["name"], row["is_procedure"]): row for row in rows}
    web = lines["restart-web", True]
    assert (web["count"], web["late"]) == (10, 7)
    assert web["sla_compliance"] == 0.3
    assert lines["patch web", False]["count"] == 20
    assert main(["stats", "--by", "procedure"]) == Exit.OK
    assert "30.0%" in capsys.readouterr().out


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "--since", "soon"], "no moment"),
        (["list", "--since", "999999w"], "no moment"),
        (["list", "--status", "done"], "no status"),
        (["list", "--after", "x"], "no execution id"),
        (["list", "--after", "01a1f7c1-4180-8a94-9234-ffffffffffff"], "not in the database"),
        (["stats", "--by", "moon"], "moon"),
    ],
)
def test_wrong_input_is_said(arguments: list[str], words: str, capsys: Capture) -> None:
    assert main(arguments) == Exit.USAGE
    assert words in capsys.readouterr().err
