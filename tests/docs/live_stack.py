"""A local stack as the README starts it, with what the documents' commands expect beside it."""

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from streams.ids import route_of
from tests.docs.blocks import ROOT, Block, blocks

SECONDS = 120


#: A dead letter that a page names.
DEAD_LETTER = re.compile(r"(?<=execution\.requests )\d+ \d+")


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
        text = DEAD_LETTER.sub(self.dead_letter, text)
        text = text.replace("EXECUTION_ID", self.execution_id)
        text = text.replace("ROUTE_KEY", route_of(self.execution_id))
        return text.replace("'…'", f"'{self.execution_id}'")

    def send_what_is_no_request(self) -> None:
        """The pages that look at a dead letter look at this one: others were dropped by others."""
        known = self._dead_letters()
        self.run("printf '{' | kcat -F .runstream/client.properties -P -t execution.requests")
        deadline = time.monotonic() + SECONDS
        while not (new := self._dead_letters() - known):
            assert time.monotonic() < deadline, "no dead letter"
        self.dead_letter = new.pop()

    def _dead_letters(self) -> set[str]:
        listed = self.json("runstream dlq list execution.requests --json")
        return {f"{letter['partition']} {letter['offset']}" for letter in listed}

    def run(self, line: str, *, asked: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command line as a shell would; variables that it sets stay.

        `asked`: it asks before it acts, and is answered with yes.
        """
        name = re.match(r"([A-Z]+)=", line)
        tail = f'\nprintf "%s" "${name[1]}"' if name else ""
        with _answers(asked) as typed:
            ended = subprocess.run(
                ["bash", "-o", "pipefail", "-c", line + tail],
                cwd=self.folder,
                env=self.environment,
                stdin=typed,
                capture_output=True,
                text=True,
                timeout=SECONDS,
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
            limit = threading.Timer(SECONDS, program.kill)
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

    def write(self, block: Block) -> None:
        """Make the file that a block is the content of."""
        file = self.folder / block.title
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{block.text}\n")

    def until(self, holds: Callable[[], bool], otherwise: str) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + SECONDS
        while not holds():
            assert time.monotonic() < deadline, otherwise
            time.sleep(0.1)

    def status_of(self, execution_id: str) -> str | None:
        """The status of an execution, as Postgres has it."""
        return self._status("execution_id = %s", execution_id)

    def until_completed(self, name: str) -> None:
        """Wait until a plan of this name has completed."""
        self.until(lambda: self._status("name = %s", name) == "completed", f"{name!r} is not done")

    def _status(self, condition: LiteralString, value: str) -> str | None:
        query = f"SELECT status FROM execution.executions WHERE {condition}"
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute(query, [value]).fetchone()
        return None if row is None else str(row[0])

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


@contextmanager
def started(folder: Path, variables: dict[str, str]) -> Iterator[Stack]:
    """The stack in this folder, with these variables; it is stopped at the end."""
    every = blocks()
    (folder / ".venv").symlink_to(Path(sys.prefix))
    readme = [
        block for block in every if block.page.name == "README.md" and block.page.parent == ROOT
    ]
    (folder / "plan.yaml").write_text(next(b.text for b in readme if b.info == "yaml"))
    (folder / "produce.py").write_text(next(b.text for b in readme if b.info == "python"))
    for kept in ("procedures", "schedules", "triggers"):
        shutil.copytree(ROOT / "demo" / kept, folder / kept)
    # The pages that name files of the repository are read in a copy of it.
    (folder / "deploy").symlink_to(ROOT / "deploy")
    inventory = next(
        b for b in every if b.page.name == "inventory.md" and b.text.startswith("bastion ")
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
    environment.update(variables)
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
        yield stack
    finally:
        assert stack.run("runstream down").returncode == 0
