"""`make demo`: starts a local stack, runs eight plans and shows how each ended.

Exit code 0 only if each plan ended as it should. The commands it runs are the ones that a user
would type; each is printed before it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from demo.servers import Mailbox, mail_server, web_server
from devstack.errors import LocalStackError
from devstack.ports import assign_ports
from devstack.stack import LocalStack

PLANS = Path(__file__).parent / "plans"
TOOLS = Path(__file__).parent / "tools"
RUNSTREAM = Path(sys.executable).with_name("runstream")

screen = Console(highlight=False)


class Demo:
    """Runs the plans and records whether each ended as it should."""

    def __init__(self, folder: Path, stack: LocalStack, ports: dict[str, int]) -> None:
        """A demo on a running stack."""
        self._folder = folder
        self._stack = stack
        self.client_options = stack.client_options
        self._ports = ports
        self.outcomes: list[tuple[str, str, bool]] = []

    def plan(self, name: str) -> str:
        """The path of a plan, with the ports of this run filled in."""
        text = (PLANS / f"{name}.yaml").read_text("utf-8")
        target = self._folder / f"{name}.yaml"
        target.write_text(text.replace("@WEB_PORT@", str(self._ports["web"])), "utf-8")
        return str(target)

    def runstream(
        self, *words: str, quiet: bool = False, actor: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a user would; with `quiet` its output is captured.

        It is signed by `actor`, or by the operator of the stack.
        """
        variables, shown = {}, ""
        if actor is not None:
            variables = {"RUNSTREAM_SIGNING_KEY": str(self._stack.keys.private(actor))}
            shown = f"RUNSTREAM_SIGNING_KEY={actor}.jwk "
        screen.print(f"[dim]$ {shown}runstream {' '.join(_shown(word) for word in words)}[/dim]")
        return subprocess.run(
            [RUNSTREAM, *words],
            text=True,
            capture_output=quiet,
            check=False,
            timeout=180,
            env={**os.environ, **variables},
        )

    def key(self, actor: str) -> None:
        """Make a key for somebody else, and trust it."""
        file = self._stack.keys.private(actor)
        if not file.exists():
            self.runstream("keys", "new", "actor", "--actor", actor, "--out", str(file))

    def run(self, name: str, expected: int, wanted: str) -> None:
        """Run a plan, watch it live, and compare the exit code."""
        screen.rule(f"[bold]{name}")
        done = self.runstream("run", self.plan(name))
        self.note(name, wanted, done.returncode == expected)

    def note(self, name: str, wanted: str, good: bool) -> None:
        """Record an outcome."""
        self.outcomes.append((name, wanted, good))

    def submit(self, name: str, actor: str | None = None) -> str:
        """Submit a plan without watching it; returns its execution id."""
        done = self.runstream("submit", self.plan(name), "--json", quiet=True, actor=actor)
        execution_id: str = json.loads(done.stdout)["execution_id"]
        return execution_id

    def wait(self, query: str, *values: Any) -> Any:
        """Repeat a query until it returns a row; returns its first column."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with psycopg.connect(self._stack.database_url) as connection:
                row = connection.execute(query.encode(), values).fetchone()
            if row is not None and row[0] is not None:
                return row[0]
            time.sleep(0.1)
        return None


def main() -> int:
    """Start, run, show, stop."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--state-dir", type=Path, default=Path(".runstream"))
    parser.add_argument("--keep", action="store_true", help="leave the stack running")
    wanted = parser.parse_args()
    folder = wanted.state_dir / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    ports = assign_ports(folder / "ports.json", ["web", "mail"])
    os.environ.update(
        RUNSTREAM_STATE_DIR=str(wanted.state_dir),
        SMTP_HOST="127.0.0.1",
        SMTP_PORT=str(ports["mail"]),
        RUNSTREAM_TOOLS_PATH=str(_library(folder.resolve())),
        # The web server to check is on this machine; by default HTTP tools may not reach it.
        RUNSTREAM_ALLOW_PRIVATE_ADDRESSES="true",
    )
    stack = LocalStack(
        wanted.state_dir,
        # Some plans show a failure and a runaway program, which are test tools.
        test_tools=True,
        environment="dev",
        bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS"),
        database_url=os.environ.get("DATABASE_URL"),
        report=lambda text: screen.print(f"[dim]{text}[/dim]"),
    )
    mailbox = Mailbox()
    web, mail = web_server(ports["web"]), mail_server(ports["mail"], mailbox)
    try:
        screen.rule("[bold]starting Kafka, Postgres and all processes")
        if not stack.start():
            screen.print("A stack is running in this folder; `runstream down` stops it first.")
            return 1
        os.environ.setdefault("KAFKA_BOOTSTRAP_SERVERS", stack.bootstrap_servers)
        os.environ.setdefault("DATABASE_URL", stack.database_url)
        demo = Demo(folder, stack, ports)
        _plans(demo, mailbox)
        good = _summary(demo, stack)
        if not wanted.keep:
            stack.stop()
        _where(wanted.state_dir, stack, kept=wanted.keep)
        return 0 if good else 1
    except LocalStackError as error:
        screen.print(f"[red]{error}[/red]")
        return 1
    except KeyboardInterrupt:
        stack.stop()
        return 130
    finally:
        mail.stop()
        web.shutdown()


def _plans(demo: Demo, mailbox: Mailbox) -> None:
    demo.run("1-health", 0, "completed")
    demo.run("2-web-check-and-mail", 0, "completed, and the mail is there")
    subjects = [str(mail["Subject"]) for mail in mailbox.mails]
    screen.print(f"the mail server has: {subjects}")
    demo.note("the mail", "says what the check found", subjects == ["web server answers 200"])
    demo.run("3-inventory", 0, "completed")
    demo.run("4-retry-and-recover", 0, "completed at the second attempt")
    _approval(demo)
    _cancel(demo)
    demo.run("7-refused", 3, "rejected, and nothing was run")
    demo.run("8-script-of-the-library", 1, "the library's script ran, and the plan's own did not")
    _dead_letter(demo)


def _library(folder: Path) -> Path:
    """A copy of the demo's tools that nobody else can write to, as executors want it."""
    library = folder / "tools"
    shutil.copytree(TOOLS, library, dirs_exist_ok=True)
    for path in (library, *library.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return library


def _approval(demo: Demo) -> None:
    name = "5-needs-approval"
    screen.rule(f"[bold]{name}")
    demo.key("ann")
    demo.key("bob")
    execution_id = demo.submit(name, "ann")
    own = demo.runstream("approve", execution_id, actor="ann")
    demo.note(name, "ann may not approve her own plan", own.returncode == 3)
    demo.runstream("approve", execution_id, "--reason", "looks good", actor="bob")
    done = demo.runstream("watch", execution_id)
    demo.note(name, "completed once bob has approved it", done.returncode == 0)


def _cancel(demo: Demo) -> None:
    name = "6-cancelled"
    screen.rule(f"[bold]{name}")
    execution_id = demo.submit(name)
    started = demo.wait(
        "SELECT started_at FROM execution.executions WHERE execution_id = %s", execution_id
    )
    demo.runstream("cancel", execution_id, "--reason", "it runs away")
    done = demo.runstream("watch", execution_id)
    evidence = demo.wait(
        "SELECT data->'evidence' FROM execution.execution_events"
        " WHERE execution_id = %s AND event_type = 'step.cancelled'",
        execution_id,
    )
    pids = (evidence or {}).get("pids_ended", [])
    screen.print(f"evidence: {evidence}")
    good = started is not None and done.returncode == 4 and len(pids) >= 2
    demo.note(name, "cancelled, with every process ended", good)


def _dead_letter(demo: Demo) -> None:
    screen.rule("[bold]bytes that are no plan")
    producer = Producer(demo.client_options)
    producer.produce("execution.requests", b"\xff\xfe these bytes are no plan")
    producer.flush(10)
    stored = demo.wait("SELECT count(*) FROM execution.execution_dlq HAVING count(*) > 0")
    done = demo.runstream("dlq", "list")
    demo.note("poison", "stored unchanged as a dead letter", bool(stored) and done.returncode == 0)


def _summary(demo: Demo, stack: LocalStack) -> bool:
    table = Table(title="what should happen, and whether it did")
    for column in ("plan", "expected", "ok"):
        table.add_column(column)
    for name, wanted, good in demo.outcomes:
        table.add_row(name, wanted, "[green]yes[/green]" if good else "[red]no[/red]")
    screen.print(table)
    with psycopg.connect(stack.database_url) as connection:
        rows = connection.execute(
            "SELECT event_type, count(*) FROM execution.execution_events GROUP BY 1 ORDER BY 1"
        ).fetchall()
    screen.print("events in Postgres: " + ", ".join(f"{kind} {count}" for kind, count in rows))
    return all(good for _, _, good in demo.outcomes)


def _where(state_dir: Path, stack: LocalStack, *, kept: bool) -> None:
    if kept:
        screen.print("The stack is still running; `runstream down` stops it.")
    else:
        screen.print("The stack is stopped; `runstream up --detach` brings it back with its data.")
    screen.print("Then look at it:")
    for command, what in (
        ("runstream list", "the executions; `runstream show ID` for one"),
        ("runstream dlq list", "the dead letters"),
        ("runstream topics show", "the topics; execution.events is the log"),
        (
            "runstream status",
            "the processes and addresses; --show-secrets adds the password for psql",
        ),
        (f"ls {state_dir}/logs", "a log per process"),
    ):
        screen.print(f"  {command:<24} {what}")


def _shown(word: str) -> str:
    return f"'{word}'" if " " in word else word


if __name__ == "__main__":
    sys.exit(main())
