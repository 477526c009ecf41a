"""What Kafka UI shows of the plan: by its own HTTP API, and what its login can read.

The paths are those of Kafbat UI 1.x: /login takes the form, /api/clusters/NAME/topics lists,
/api/clusters/NAME/topics/TOPIC/messages/v2 sends messages as server-sent events.
"""

from __future__ import annotations

import time
from typing import Final

import httpx

from deploy.compose_check.commands import CheckFailed
from deploy.compose_check.plan import Outcome
from deploy.compose_check.project import Project
from streams import topics

_CLUSTER: Final = "/api/clusters/runstream/topics"
_SECONDS: Final = 60.0


def shows(project: Project, outcome: Outcome) -> int:
    """How many messages Kafka UI shows of the execution; all of its events must be there."""
    address = f"http://127.0.0.1:{project.port('KAFKA_UI_PORT')}"
    with httpx.Client(base_url=address, follow_redirects=True, timeout=30) as client:
        refused = client.get(_CLUSTER, follow_redirects=False)
        if refused.status_code == httpx.codes.OK:
            raise CheckFailed("Kafka UI shows topics to somebody who has not logged in")
        client.post(
            "/login",
            data={"username": "admin", "password": project.values["KAFKA_UI_PASSWORD"]},
        )
        deadline = time.monotonic() + _SECONDS
        while topics.EVENTS.name not in client.get(_CLUSTER, params={"perPage": 100}).text:
            if time.monotonic() > deadline:
                raise CheckFailed("Kafka UI does not list the topic of events")
            time.sleep(1)
        seen = 0
        asked = {"mode": "EARLIEST", "limit": "500", "keySerde": "String", "valueSerde": "String"}
        place = f"{_CLUSTER}/{topics.EVENTS.name}/messages/v2"
        with client.stream("GET", place, params=asked) as answer:
            for line in answer.iter_lines():
                seen += line.startswith("data:") and outcome.execution_id in line
                if '"DONE"' in line:
                    break
    if seen < len(outcome.events):
        raise CheckFailed(f"Kafka UI shows {seen} of {len(outcome.events)} events")
    return seen


def login_reads(project: Project, outcome: Outcome) -> int:
    """How many events Kafka's own console consumer reads with the login that Kafka UI is given.

    It is the same client library with the same properties, so a wrong one would show here too.
    """
    said = project.compose(
        *("exec", "--no-TTY", "kafka", "/opt/kafka/bin/kafka-console-consumer.sh"),
        *("--bootstrap-server=kafka:19092", f"--topic={topics.EVENTS.name}", "--from-beginning"),
        *("--command-config=/etc/runstream/client.properties", "--timeout-ms=10000"),
    )
    read = sum(outcome.execution_id in line for line in said.splitlines())
    if read < len(outcome.events):
        raise CheckFailed(f"its login reads {read} of {len(outcome.events)} events")
    return read
