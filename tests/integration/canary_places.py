"""Everything that the system keeps or shows of executions, by its place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psycopg
from psycopg.conninfo import conninfo_to_dict

from devstack.postgres_binaries import find_postgres
from devstack.stack import LocalStack
from tests.canary_forms import squeezed
from tests.records import every_record

#: Runs many commands in one process; their output is one text.
_COMMANDS = (
    "import json, sys; from console.cli import main; [main(w) for w in json.load(sys.stdin)]"
)


def places(
    stack: LocalStack, folder: Path, ids: set[str], meanwhile: dict[str, bytes]
) -> dict[str, bytes]:
    """Topics, the database, logs, metrics and the command line: without blanks, by place.

    `meanwhile` is what the command line said while the steps ran.
    """
    kept: dict[str, list[bytes]] = defaultdict(list)

    def keep(place: str, data: bytes) -> None:
        # As it is, with one level of backslashes less as in a dump, and the texts of its JSON.
        variants = (data, data.replace(b"\\\\", b"\\"), *_texts(data))
        kept[place] += map(squeezed, variants)

    for topic, parts in every_record(stack.client_options).items():
        for part in parts:
            keep(f"topic {topic}", part)
    keep("dump", _dumped(stack.database_url))
    for table, row in _rows(stack.database_url):
        keep(f"table {table}", row)
    for log in (folder / "stack").rglob("*.log"):
        # Kafka's own segments end so, too: their records were read above.
        if log.name[0].isalpha():
            keep(f"log {log.stem}", log.read_bytes())
    status = stack.status()
    assert status is not None
    for process in status.processes:
        if process.http_port is not None and process.name not in ("kafka", "postgres"):
            with urlopen(f"http://127.0.0.1:{process.http_port}/metrics", timeout=10) as answer:
                keep(f"metrics {process.name}", answer.read())
    told = _told(folder / "stack", sorted(ids))
    for place, data in (told | meanwhile).items():
        keep(f"command {place}", data)
    return {place: b"|".join(pieces) for place, pieces in kept.items()}


def _texts(data: bytes) -> list[bytes]:
    """Every text in JSON, and in JSON within JSON; of several documents, one a line."""
    whole = data.decode("utf-8", "replace")
    found: list[bytes] = []
    waiting: list[Any] = [line for line in (whole, *whole.split("\n")) if line[:1] in ("{", "[")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend((*value.keys(), *value.values()))
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            found.append(value.encode("utf-8", "replace"))
            if value[:1] in ("{", "["):
                try:
                    waiting.append(json.loads(value))
                except ValueError:
                    continue
        elif value is not None:
            found.append(str(value).encode())
    return found


def _dumped(dsn: str) -> bytes:
    """The whole database, as pg_dump writes it."""
    given = conninfo_to_dict(dsn)
    done = subprocess.run(
        [str(find_postgres(None).folder / "pg_dump"), "--host", str(given["host"]),
         "--port", str(given["port"]), "--username", str(given["user"]), str(given["dbname"])],
        env={"PGPASSWORD": str(given["password"]), "PATH": os.environ["PATH"]},
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def _rows(dsn: str) -> Iterator[tuple[str, bytes]]:
    """Every row as JSON, with its table."""
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for (table,) in tables:
            for (row,) in connection.execute(f"SELECT row_to_json(t)::text FROM {table} t"):
                yield table, row.encode()


def told_meanwhile(state_dir: Path) -> dict[str, bytes]:
    """What the command line says while steps run, by place."""
    told = {"locks": [["locks"]], "locks --json": [["locks", "--json"]]}
    return _run(state_dir, told)


def _told(state_dir: Path, ids: list[str]) -> dict[str, bytes]:
    """What the command line says of every execution and dead letter, by place."""
    listed = _run(state_dir, {"dlq": [["dlq", "list", "--limit", "1000", "--json"]]})["dlq"]
    letters = [
        [one["topic"], str(one["partition"]), str(one["offset"])] for one in json.loads(listed)
    ]
    told = {
        "show": [["list"], *(["show", one, "--events"] for one in ids)],
        "show --json": [
            ["list", "--json"], ["dlq", "list", "--json"],
            *(["show", one, "--events", "--json"] for one in ids),
        ],
        "watch": [["watch", one] for one in ids],
        "watch --jsonl": [["watch", one, "--jsonl"] for one in ids],
        "dlq show": [["dlq", "show", *one] for one in letters],
        "dlq show --json": [["dlq", "show", *one, "--json"] for one in letters],
        "audit show": [["audit", "show", one] for one in ids],
        "audit show --json": [["audit", "show", one, "--json"] for one in ids],
    }  # fmt: skip
    return _run(state_dir, told)


def _run(state_dir: Path, told: dict[str, list[list[str]]]) -> dict[str, bytes]:
    """What each of the command lines says, by place; two at once, in one process for each place."""
    environment = {**os.environ, "RUNSTREAM_STATE_DIR": str(state_dir), "COLUMNS": "400"}

    def output(commands: list[list[str]]) -> bytes:
        done = subprocess.run(
            [sys.executable, "-c", _COMMANDS], input=json.dumps(commands).encode(),
            env=environment, capture_output=True, timeout=150, check=True,
        )  # fmt: skip
        return done.stdout + done.stderr

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(told, pool.map(output, told.values()), strict=True))
