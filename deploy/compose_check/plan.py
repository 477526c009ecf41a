"""The first plan of the README, from its program to the table and the HTTP API."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import dataclass
from typing import Any, Final

import httpx
import psycopg
from confluent_kafka import Consumer

from deploy.compose_check.commands import CheckFailed, run
from deploy.compose_check.images import ROOT
from deploy.compose_check.project import Project
from streams import topics

_SECONDS: Final = 90.0
NAME: Final = "disk check"


@dataclass(frozen=True)
class Outcome:
    """What became of the plan, as the topic says it."""

    execution_id: str
    #: The types of its events, in order.
    events: tuple[str, ...]


def publish(project: Project) -> None:
    """Run the README's program as it stands there, with the login of compose.yaml."""
    text = (ROOT / "README.md").read_text("utf-8")
    programs = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    program = next((one for one in programs if "producer.produce(" in one), None)
    if program is None:
        raise CheckFailed("README.md has no program that produces a plan")
    given = json.dumps({"client_options": client_options(project)})
    run(sys.executable, "-c", program, given=given, seconds=60)


def client_options(project: Project) -> dict[str, Any]:
    """How a client on this machine reaches the broker."""
    return {
        "bootstrap.servers": f"localhost:{project.port('KAFKA_PORT')}",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "runstream",
        "sasl.password": project.values["KAFKA_PASSWORD"],
    }


def follow(project: Project) -> Outcome:
    """Read the events until the plan has ended; anything but `completed` is a failure."""
    consumer = Consumer(
        {
            **client_options(project),
            "group.id": "people-compose-check",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )
    events: dict[str, list[str]] = {}
    wanted = ""
    deadline = time.monotonic() + _SECONDS
    try:
        consumer.subscribe([topics.EVENTS.name])
        while time.monotonic() < deadline:
            message = consumer.poll(0.5)
            value = None if message is None or message.error() else message.value()
            if value is None:
                continue
            event = json.loads(value)
            found = events.setdefault(event["execution_id"], [])
            found.append(event["type"])
            if event["type"] == "execution.accepted" and event["data"].get("name") == NAME:
                wanted = event["execution_id"]
            if wanted and found[-1] == "execution.completed" and event["execution_id"] == wanted:
                return Outcome(wanted, tuple(found))
            if found[-1] in ("execution.failed", "execution.rejected", "execution.partial"):
                raise CheckFailed(f"the plan ended with {value.decode(errors='replace')}")
    finally:
        consumer.close()
    raise CheckFailed(f"the plan did not end within {_SECONDS:.0f} s; events: {events}")


def stored(project: Project, outcome: Outcome) -> tuple[str, ...]:
    """The event types of the execution in Postgres, once it stands there as completed."""
    address = f"host=127.0.0.1 port={project.port('POSTGRES_PORT')} user=runstream dbname=runstream"
    deadline = time.monotonic() + _SECONDS
    with psycopg.connect(address, password=project.values["POSTGRES_PASSWORD"]) as connection:
        connection.autocommit = True
        while True:
            row = connection.execute(
                "SELECT status::text FROM execution.executions WHERE execution_id = %s",
                (outcome.execution_id,),
            ).fetchone()
            if row == ("completed",):
                break
            if time.monotonic() > deadline:
                raise CheckFailed(f"the table says {row} of {outcome.execution_id}")
            time.sleep(0.2)
        rows = connection.execute(
            "SELECT event_type FROM execution.execution_events WHERE execution_id = %s"
            " ORDER BY seq",
            (outcome.execution_id,),
        ).fetchall()
    return tuple(kind for (kind,) in rows)


def told(project: Project, outcome: Outcome) -> dict[str, Any]:
    """The execution as the HTTP API tells it, to the operator's token."""
    key = project.folder / "operator.jwk"
    project.compose("cp", "router:/keys/operator.jwk", str(key))
    key.chmod(0o600)
    token = run(
        *(sys.executable, "-m", "console", "token", "--read"),
        environment={"PATH": "", "RUNSTREAM_SIGNING_KEY": str(key)},
        folder=ROOT,
    ).strip()
    answer = httpx.get(
        f"http://127.0.0.1:{project.port('API_PORT')}/v1/executions/{outcome.execution_id}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
    )
    if answer.status_code != httpx.codes.OK:
        raise CheckFailed(f"the API answered {answer.status_code}: {answer.text[:500]}")
    found = answer.json()
    if found.get("status") != "completed":
        raise CheckFailed(f"the API tells {answer.text[:500]}")
    return dict(found)


def console_page(project: Project) -> None:
    """The console answers a browser that has not logged in with its page for that."""
    address = f"http://127.0.0.1:{project.port('API_PORT')}/"
    answer = httpx.get(address, follow_redirects=True, timeout=20)
    kind = answer.headers.get("content-type", "")
    if answer.status_code >= httpx.codes.BAD_REQUEST or "text/html" not in kind:
        raise CheckFailed(f"the console answered {answer.status_code} ({kind})")
