"""`runstream show` and `list` on a real database with the real tables."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from console.cli import main
from console.exits import Exit
from sinks.migrate import migrate

Capture = pytest.CaptureFixture[str]
IDENT = "01a1f7c1-4180-8a94-9234-56783662e997"
OTHER = "01a1f7ca-6940-8000-8765-432100000000"

ROWS = f"""
INSERT INTO execution.executions
    (execution_id, tenant, name, actor, environment, status, execution_mode, sla_class,
     action_class, total_steps, step_counts, compensation_counts, run, created_at,
     completed_at, duration_seconds,
     error_class, error_message, updated_at, last_seq)
VALUES
    ('{IDENT}', 'acme', 'patch [bold]web', 'ci', 'dev', 'failed', 'background', 'medium',
     'modify', 2, '{{"succeeded": 1, "failed": 1}}', '{{"succeeded": 1, "failed": 2}}', 3,
     now() - interval '1 minute', now(), 3.2,
     'step_failed', 'tell failed', now(), 12),
    ('{OTHER}', 'other', NULL, 'ci', 'dev', 'running', 'immediate', 'fast', 'read', 1, NULL,
     NULL, NULL, now(), NULL, NULL, NULL, NULL, now(), 3);
INSERT INTO execution.execution_steps
    (execution_id, step, tenant, step_index, tool, status, status_reason, waiting_until, attempt,
     target, output_data, error_class, error_message, duration_seconds, updated_at, last_seq)
VALUES
    ('{IDENT}', 'disk', 'acme', 0, 'df', 'succeeded', NULL, NULL, 1, 'web-01',
     '{{"use_percent": 44}}', NULL, NULL, 0.21, now(), 8),
    ('{IDENT}', 'tell', 'acme', 1, 'slack_cli', 'failed', NULL, NULL, 2, NULL, NULL,
     'http_status', 'the server answered 500', 1.5, now(), 11),
    ('{OTHER}', 'hold', 'other', 0, 'sleep', 'waiting', 'waits for its turn',
     '2026-11-20 07:00:00+00', 0, NULL, NULL, NULL, NULL, NULL, now(), 3);
INSERT INTO execution.attempts
    (execution_id, step, attempt, tenant, executor, status, started_at, duration_seconds, output,
     stderr, error_class, error_message, last_seq)
VALUES
    ('{IDENT}', 'tell', 1, 'acme', 'agent-1', 'lost', now(), NULL, NULL, NULL, 'lost', 'silent', 9),
    ('{IDENT}', 'tell', 2, 'acme', 'agent-2', 'failed', now(), 1.5,
     '{{"request_id": "r-17"}}',
     '{{"bytes": 5000, "sha256": "x", "head": "HTTP 500\\u001b[2J", "tail": "the end",
        "lost_bytes": 4096}}',
     'http_status', 'the server answered 500', 11);
INSERT INTO execution.output
    (execution_id, step, attempt, stream, chunk, byte_offset, tenant, text, at)
VALUES
    ('{IDENT}', 'tell', 2, 'stderr', 0, 0, 'acme', E'HTTP 500\u001b[2J\n', now()),
    ('{IDENT}', 'tell', 2, 'stderr', 2, 4108, 'acme', E'the end\n', now()),
    ('{IDENT}', 'tell', 1, 'stdout', 0, 0, 'acme', 'first', now());
INSERT INTO execution.execution_events
    (event_id, execution_id, seq, event_type, at, tenant, data)
VALUES ('{IDENT}:1', '{IDENT}', 1, 'execution.started', now(), 'acme', '{{}}');
"""


@pytest.fixture
def filled(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    migrate(database)
    with psycopg.connect(database) as connection:
        connection.execute(ROWS)
    return database


def test_list_filters_and_is_newest_first(filled: str, capsys: Capture) -> None:
    assert main(["list", "--json"]) == Exit.OK
    rows = json.loads(capsys.readouterr().out)
    assert [row["execution_id"] for row in rows] == [OTHER, IDENT]
    assert main(["list", "--tenant", "acme", "--status", "failed", "--limit", "5"]) == Exit.OK
    said = capsys.readouterr().out
    assert IDENT in said
    assert OTHER not in said
    assert "patch [bold]web" in said
    assert "1/2" in said
    assert main(["list", "--tenant", "nobody"]) == Exit.OK
    assert "no executions" in capsys.readouterr().err


def test_show_tells_steps_attempts_and_what_was_written(filled: str, capsys: Capture) -> None:
    assert main(["show", IDENT, "--events"]) == Exit.OK
    said = capsys.readouterr().out
    for words in ("tell failed", "the server answered 500", "use_percent", "HTTP 500", "agent-1",
                  "web-01", "tell #1", "   1  ", "the server answered 500 [http_status]",
                  "r-17", "the end", "4.0 KiB of it are lost", "1 succeeded, 2 failed",
                  "number 3"):  # fmt: skip
        assert words in said
    assert "\x1b" not in said
    assert main(["show", OTHER]) == Exit.OK
    assert "waits for its turn (until 2026-11-20 07:00:00Z)" in capsys.readouterr().out


def test_show_as_json_is_everything(filled: str, capsys: Capture) -> None:
    assert main(["show", IDENT, "--json", "--events"]) == Exit.OK
    document = json.loads(capsys.readouterr().out)
    assert [step["step"] for step in document["steps"]] == ["disk", "tell"]
    assert [attempt["attempt"] for attempt in document["attempts"]] == [1, 2]
    assert document["events"][0]["type"] == "execution.started"
    assert document["approval"] is None


def test_output_is_what_was_written_and_says_what_is_missing(filled: str, capsys: Capture) -> None:
    assert main(["output", IDENT, "tell", "--stream", "stderr"]) == Exit.OK
    said = capsys.readouterr()
    assert said.out == "HTTP 500\x1b[2J\nthe end\n"  # no terminal: as it is
    assert "1 chunk of it are not in the database" in said.err
    assert "stderr of tell, attempt 2: 21 B of 4.9 KiB were published" in said.err
    assert main(["output", IDENT, "tell", "--attempt", "1", "--jsonl"]) == Exit.OK
    line = json.loads(capsys.readouterr().out)
    assert (line["attempt"], line["stream"], line["offset"], line["text"]) == (
        1,
        "stdout",
        0,
        "first",
    )
    assert main(["output", IDENT, "tell"]) == Exit.OK
    assert "nothing was written to stdout of tell, attempt 2" in capsys.readouterr().err


def test_output_of_no_such_step_names_those_that_wrote(filled: str, capsys: Capture) -> None:
    assert main(["output", IDENT, "tel"]) == Exit.FAILED
    said = capsys.readouterr().err
    assert "there is no step tel of execution" in said and "1 step wrote something: tell" in said
    assert main(["output", IDENT, "tell", "--attempt", "7"]) == Exit.FAILED
    assert "there is no attempt 7 of step tell" in capsys.readouterr().err


def test_an_unknown_execution_is_said(filled: str, capsys: Capture) -> None:
    assert main(["show", IDENT.replace("997", "998")]) == Exit.FAILED
    assert "runstream watch" in capsys.readouterr().err


def test_a_database_without_tables_names_the_remedy(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    assert main(["list"]) == Exit.UNREACHABLE
    said = capsys.readouterr().err
    assert "has no Runstream tables" in said
    assert "runstream migrate" in said


@pytest.mark.parametrize("width", [60, 80, 110, 160])
def test_list_and_show_can_be_read_on_every_width(
    width: int, filled: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["list"]) == Exit.OK
    said = capsys.readouterr().out
    print(said)
    assert IDENT in said
    assert "patch [bold]web" in said
    assert "failed" in said
    assert "…" not in said
    assert main(["show", IDENT]) == Exit.OK
    said = capsys.readouterr().out
    print(said)
    assert "tell" in said
    assert "1.5 s" in said
    assert "the server answered 500 [http_status]" in said


def test_logs_are_of_all_steps_or_of_one_and_what_is_within(
    filled: str, capsys: Capture, tmp_path: Path
) -> None:
    with psycopg.connect(filled) as connection:
        connection.execute(
            "INSERT INTO execution.output (execution_id, step, attempt, stream, chunk, byte_offset,"
            " tenant, text, at) VALUES (%s, 'roll[0].drain', 1, 'stdout', 0, 0, 'acme',"
            " E'half a', now()), (%s, 'roll[0].drain', 1, 'stdout', 1, 6, 'acme',"
            " E' line\\nlast', now())",
            (IDENT, IDENT),
        )
    assert main(["logs", IDENT, "roll"]) == Exit.OK
    assert capsys.readouterr().out == "roll[0].drain | half a line\nroll[0].drain | last\n"
    assert main(["logs", IDENT]) == Exit.OK
    said = capsys.readouterr().out.splitlines()
    assert "tell | first" in said
    assert "tell #2! | the end" in said
    assert main(["logs", IDENT, "--to", str(tmp_path / "new")]) == Exit.OK
    saved = {file.name: file.read_text() for file in (tmp_path / "new").iterdir()}
    assert saved == {
        "roll[0].drain.1.stdout": "half a line\nlast",
        "tell.1.stdout": "first",
        "tell.2.stderr": "HTTP 500\x1b[2J\nthe end\n",
    }
    assert main(["logs", IDENT, "--to", str(tmp_path / "new")]) == Exit.USAGE
    assert main(["logs", IDENT, "rol"]) == Exit.FAILED
    assert "there is no step rol" in capsys.readouterr().err
    assert main(["logs", IDENT, "disk"]) == Exit.OK
    assert "nothing was written" in capsys.readouterr().err
