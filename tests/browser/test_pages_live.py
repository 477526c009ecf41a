"""The pages beside those of executions, on a real stack: they show what is and do what they say."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
import orjson
import pytest

from authority.tokens import sign
from streams.envelope import SIGNATURE
from streams.procedures import record_key
from streams.topics import PROCEDURES
from tests.api_kit import ApiServer, Person
from tests.harness import PATIENCE_SECONDS, Harness
from tests.signing import cluster_of

T = TypeVar("T")


def until(found: Callable[[], T | None], what: str) -> T:
    """What is found in the end."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        value = found()
        if value is not None:
            return value
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


@contextmanager
def signed_in(api: ApiServer, person: Person) -> Iterator[httpx.Client]:
    """As a browser is that has shown the token."""
    with httpx.Client(base_url=api.url, headers={"Origin": api.url}, timeout=30) as client:
        # The process reads the file of trusted keys again within seconds.
        until(lambda: client.post("/login", data={"token": person.token()}).is_redirect or None,
              "the token does not count")  # fmt: skip
        yield client


def told(client: httpx.Client, path: str, *texts: str) -> str | None:
    """The page once it has all of the texts."""
    answer = client.get(path)
    assert answer.status_code in (200, 404, 503), answer.text
    return answer.text if all(text in answer.text for text in texts) else None


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_start_a_procedure_approve_it_and_find_it_everywhere(
    api: ApiServer, harness: Harness
) -> None:
    name = f"list-{uuid.uuid4().hex[:8]}"
    plan: dict[str, Any] = {
        "name": name, "approval_level": 1,
        "inputs": {"path": {"pattern": "/.*", "description": "where to look"}},
        "steps": [{"id": "look", "tool": "ls", "parameters": {"path": "{{ inputs.path }}"}}],
    }  # fmt: skip
    record = {"tenant": "default", "name": name, "version": "7", "actor": "ann", "plan": plan}
    person, value = api.person("ann"), orjson.dumps(record)
    cluster = cluster_of(harness.stack.bootstrap_servers, PROCEDURES.name)
    token = sign(person.key, PROCEDURES.name, cluster, value, time.time())
    key_of = record_key("default", name).encode()
    harness.produce(value, key_of, PROCEDURES.name, [(SIGNATURE, token)])
    harness.flush()
    with signed_in(api, person) as ann, signed_in(api, api.person("bob")) as bob:
        # The form is made of the inputs; what the router says of one stands at its field.
        until(lambda: told(ann, f"/start?text={name}", name, "1 input, 1 required"), "no procedure")
        form = ann.get(f"/start/{name}").text
        key = re.search(r'name="key" value="([^"]+)"', form)
        assert key is not None and "where to look" in form
        sent = {"key": key[1], "input.path": "etc", "action": "run"}
        refused = ann.post(f"/start/{name}", data=sent)
        assert "It would be refused" in refused.text
        assert 'class="wrong' in refused.text.split('id="input.path-hint"')[1][:800]
        sent["input.path"] = "/etc/hostname"
        asked = ann.post(f"/start/{name}", data={**sent, "action": "check"})
        assert "It would wait for approval" in asked.text and "/etc/hostname" in asked.text
        started = ann.post(f"/start/{name}", data=sent)
        assert started.status_code == 303, started.text
        path = started.headers["location"]
        ident = path.removeprefix("/executions/")
        # The same form once more is the same execution.
        assert ann.post(f"/start/{name}", data=sent).headers["location"] == path

        # Whoever asked sees why they may not approve; somebody else may, and it runs.
        own = until(lambda: told(ann, f"/approvals/{ident}", "somebody else"), "no approval")
        assert re.search(r'value="approve" disabled', own)
        assert name in bob.get("/approvals").text
        page = bob.get(f"/approvals/{ident}").text
        digest = re.search(r'name="plan_hash" value="([0-9a-f]{64})"', page)
        assert digest is not None and "look" in page
        decision = {"decision": "approve", "plan_hash": digest[1], "reason": "read"}
        wrong = bob.post(f"/approvals/{ident}", data={**decision, "plan_hash": "0" * 64})
        assert wrong.status_code == 409
        own_answer = ann.post(f"/approvals/{ident}", data=decision)
        assert own_answer.status_code in (403, 409) and "It was not decided" in own_answer.text
        assert bob.post(f"/approvals/{ident}", data=decision).headers["location"] == path
        until(lambda: told(bob, path, "Completed"), "it has not completed")
        until(lambda: told(bob, f"/approvals/{ident}", "Approved", "bob"), "not shown as approved")

        # It counts in the overview, and every other page reads its own part of the system.
        until(lambda: told(bob, "/overview?range=1h", "Success rate", "Procedures"), "no overview")
        until(lambda: told(bob, "/executors", "automation", "Alive"), "no executor")
        until(lambda: told(bob, "/tools/ls", "Example", "Served by"), "no tool")
        for page_path in ("/schedules", "/triggers", "/locks", "/dead-letters", "/tools?text=ls"):
            until(lambda p=page_path: told(bob, p, "<h1>"), page_path)  # type: ignore[misc]
            assert bob.get(page_path).status_code == 200, page_path

        # A step after its last attempt is a dead letter, and is run again from its page.
        plan_text = "steps: [{id: bad, tool: fail}]"
        failed = bob.post("/start/plan", data={"key": name, "plan": plan_text, "action": "run"})
        lost = failed.headers["location"].removeprefix("/executions/")
        found = until(
            lambda: re.search(
                r'row-link" href="(/dead-letters/[^"]+)"',
                bob.get(f"/dead-letters?execution={lost}").text,
            ),
            "no dead letter",
        )
        assert "Run the step again" in bob.get(found[1]).text
        counted = bob.get(f"/dead-letters/redrive?execution={lost}").text
        assert "Redrive 1 step" in counted
        done = bob.post(found[1])
        assert "1 dead letter redriven" in done.text, done.text
