"""Every command line, program and query of the documents is run against a live stack."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from streams.ids import route_of
from tests.docs.blocks import ROOT, Block, blocks

#: Commands and programs that are not run here, each with the reason.
NOT_RUN = {
    r"^make \w+": "installs everything, or runs all tests and with them this one",
    r"runstream up --detach": "the stack of these tests was started by this very command",
    r"runstream down": "the stack of these tests is stopped by this very command",
    r"from devstack\.stack import LocalStack": "the stack of the tests is started in this way",
    r"^(\w+=\w+ )?docker compose ": "`make compose-check` starts it, which takes minutes",
    r"^promtool ": "tests/contract/test_alerts.py runs it, in the repository",
    r"^useradd ": "it changes the accounts of the machine",
    r"^RUNSTREAM_KAFKA_OPTIONS=": "tests/integration/test_access.py runs each user's process",
}
#: Pages whose blocks another test runs, with what they need.
RUN_ELSEWHERE = {
    "docs/ssh.md": "tests/integration/test_docs_ssh.py, against an OpenSSH server",
    "docs/webhooks.md": "tests/integration/test_webhooks.py, with an API that has hooks",
    "docs/own-tools.md": "tests/docs/test_own_tools.py, from an empty folder",
}
#: They follow something for ever: they run until the first line that they print.
ENDLESS = (
    r"^kcat .* -C (?!.* -e\b)",
    r"^runstream (router|executor|sink|projector|matcher|api)\b",
    r"while True:",
)
#: Commands that ask before they act; they are answered with yes, as if at a terminal.
ASKING = (r"runstream dlq drop", r"runstream dlq redrive .* --class")
_SECONDS = 120

ALL = blocks()


@dataclass
class Stack:
    """A local stack that was started as the README says, and what stands on it."""

    folder: Path
    environment: dict[str, str]
    #: What `runstream status --json` prints, which the programs of the documents read.
    status: str
    database_url: str
    execution_id: str
    dead_letter: str

    def fill(self, text: str) -> str:
        """The text with the placeholders of the documents filled in."""
        text = re.sub(r"(?<=execution\.requests )\d+ \d+", self.dead_letter, text)
        text = text.replace("EXECUTION_ID", self.execution_id)
        text = text.replace("ROUTE_KEY", route_of(self.execution_id))
        return text.replace("'…'", f"'{self.execution_id}'")

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a command line as a shell would; variables that it sets stay."""
        name = re.match(r"([A-Z]+)=", line)
        tail = f'\nprintf "%s" "${name[1]}"' if name else ""
        with _answers(any(re.search(form, line) for form in ASKING)) as typed:
            ended = subprocess.run(
                ["bash", "-o", "pipefail", "-c", line + tail],
                cwd=self.folder,
                env=self.environment,
                stdin=typed,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
            )
        if name:
            self.environment[name[1]] = ended.stdout
        return ended

    def first_line(self, argv: list[str]) -> str:
        """The first line that an endless program prints; it is stopped then.

        What it may read from its standard input is the status of the stack.
        """
        with subprocess.Popen(
            argv,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as program:
            assert program.stdout is not None
            assert program.stdin is not None
            program.stdin.write(self.status)
            program.stdin.close()
            limit = threading.Timer(_SECONDS, program.kill)
            limit.start()
            try:
                return program.stdout.readline()
            finally:
                limit.cancel()
                program.terminate()
                try:
                    program.wait(30)
                except subprocess.TimeoutExpired:
                    program.kill()

    def json(self, line: str) -> Any:
        ended = self.run(line)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)


@contextmanager
def _answers(asked: bool) -> Iterator[int]:
    """What a command reads: nothing, or `y` from a terminal."""
    if not asked:
        yield subprocess.DEVNULL
        return
    keyboard, terminal = pty.openpty()
    try:
        os.write(keyboard, b"y\n")
        yield terminal
    finally:
        os.close(terminal)
        os.close(keyboard)


def commands(block: Block) -> list[str]:
    """The command lines of a block: those after `$ `, or all where none has it."""
    lines = [line.strip() for line in block.text.splitlines() if line.strip()]
    typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return typed or lines


def skipped(text: str) -> bool:
    return any(re.search(form, text) for form in NOT_RUN)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    for program in ("kcat", "psql"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} on this machine")
    folder = tmp_path_factory.mktemp("docs")
    (folder / ".venv").symlink_to(Path(sys.prefix))
    readme = [
        block for block in ALL if block.page.name == "README.md" and block.page.parent == ROOT
    ]
    (folder / "plan.yaml").write_text(next(b.text for b in readme if b.info == "yaml"))
    (folder / "produce.py").write_text(next(b.text for b in readme if b.info == "python"))
    for kept in ("procedures", "schedules", "triggers"):
        shutil.copytree(ROOT / "demo" / kept, folder / kept)
    inventory = next(
        b for b in ALL if b.page.name == "inventory.md" and b.text.startswith("bastion ")
    )
    (folder / "inventory.ini").write_text(inventory.text)
    # The processes have just been started, and the machine may be busy: time enough for them.
    (folder / "uptime.yaml").write_text(
        "timeout_seconds: 600\nsteps: [{tool: uptime, timeout_seconds: 120}]\n"
    )
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("KAFKA_BOOTSTRAP_SERVERS", "RUNSTREAM_KAFKA_OPTIONS", "DATABASE_URL")
        and not name.startswith("PYTEST")
    }
    environment["PATH"] = f"{folder / '.venv' / 'bin'}:{environment['PATH']}"
    stack = Stack(folder, environment, "", "", "", "")
    try:
        up = stack.run("runstream up --detach")
        assert up.returncode == 0, up.stderr
        status = stack.json("runstream status --json --show-secrets")
        stack.database_url = status["database_url"]
        stack.status = json.dumps(status)
        stack.execution_id = stack.run("runstream submit uptime.yaml").stdout.strip()
        watched = stack.run(f"runstream watch {stack.execution_id}")
        assert watched.returncode == 0, watched.stdout + watched.stderr
        stack.run("printf '{' | kcat -F .runstream/client.properties -P -t execution.requests")
        deadline = time.monotonic() + _SECONDS
        while not stack.dead_letter:
            for letter in stack.json("runstream dlq list execution.requests --json"):
                stack.dead_letter = f"{letter['partition']} {letter['offset']}"
            assert time.monotonic() < deadline, "no dead letter"
        yield stack
    finally:
        assert stack.run("runstream down").returncode == 0


def pages(info: str) -> list[Any]:
    found: dict[Path, list[Block]] = {}
    for block in ALL:
        if block.info == info and str(block.page.relative_to(ROOT)) not in RUN_ELSEWHERE:
            found.setdefault(block.page, []).append(block)
    return [pytest.param(b, id=str(p.relative_to(ROOT))) for p, b in found.items()]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("found", pages("console"))
def test_the_command_lines_of_a_page(live: Stack, found: list[Block]) -> None:
    for block in found:
        for written in commands(block):
            if skipped(written):
                continue
            line = live.fill(written)
            if any(re.search(form, line) for form in ENDLESS):
                assert live.first_line(["bash", "-c", f"exec {line}"]), f"{block.where}: {line}"
                continue
            ended = live.run(line)
            assert ended.returncode == 0, f"{block.where}: {line}\n{ended.stdout}{ended.stderr}"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("found", pages("python"))
def test_the_programs_of_a_page(live: Stack, found: list[Block]) -> None:
    for block in found:
        if skipped(block.text):
            continue
        argv = [sys.executable, "-u", "-c", block.text]
        if any(re.search(form, block.text) for form in ENDLESS):
            assert live.first_line(argv), block.where
            continue
        ended = subprocess.run(
            argv,
            cwd=live.folder,
            env=live.environment,
            input=live.status,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode == 0, f"{block.where}: {ended.stderr}"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("found", pages("sql"))
def test_the_queries_of_a_page(live: Stack, found: list[Block]) -> None:
    with psycopg.connect(live.database_url) as connection:
        for block in found:
            for query in re.sub(r"--.*", "", live.fill(block.text)).split(";"):
                if query.strip():
                    answer = connection.execute(query.encode())
                    if answer.description is not None:
                        answer.fetchall()
        # Some make a role.
        connection.rollback()


def test_every_exception_is_still_needed() -> None:
    texts = [line for block in ALL if block.info == "console" for line in commands(block)]
    texts += [block.text for block in ALL if block.info == "python"]
    for form in (*NOT_RUN, *ENDLESS, *ASKING):
        assert any(re.search(form, text) for text in texts), f"nothing matches {form}"
