"""Clients that know nothing of Runstream submit a plan and follow it to its end."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.stack import LocalStack
from streams.envelope import SIGNATURE
from streams.ids import is_execution_id
from streams.topics import EVENTS, OUTPUT, PROGRESS
from tests import node_kit
from tests.clients import programs
from tests.clients.programs import Followed, Request

CLIENTS = (
    programs.kafkajs,
    programs.franz_go,
    programs.aiokafka,
    programs.kcat,
    programs.java_console,
    programs.cloudevents_python,
    programs.cloudevents_js,
)


def _request(stack: LocalStack, key: str, text: str) -> Request:
    return Request(stack.client_options, stack.client_properties, key, text)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_a_foreign_client_submits_and_follows(
    stack: tuple[LocalStack, Path], client: Callable[[Request], Followed]
) -> None:
    key = uuid.uuid4().hex
    # The output is large enough for a producer that compresses to do so.
    steps = [
        {"id": "first", "tool": "noop", "parameters": {"value": "text " * 2_000}},
        {"id": "second", "tool": "noop", "parameters": {"value": "{{ steps.first.output.value }}"}},
    ]
    request = {"idempotency_key": key, "plan": {"name": client.__name__, "steps": steps}}
    seen = client(_request(stack[0], key, json.dumps(request)))
    assert seen.execution_id is not None
    assert is_execution_id(seen.execution_id)
    assert seen.types[0] == "execution.accepted"
    assert seen.types[-1] == "execution.completed"
    assert seen.types.count("step.succeeded") == len(steps)
    time = seen.headers.pop("ce_time")
    assert time.startswith("20")
    # Libraries of CloudEvents hand out no other headers.
    seen.headers.pop(SIGNATURE, None)
    assert seen.headers == {
        "ce_id": f"{seen.execution_id}:{len(seen.types)}",
        "ce_type": "runstream.execution.completed.v1",
        "ce_source": "runstream/router",
        "ce_specversion": "1.0",
        "ce_subject": seen.execution_id,
        "content-type": "application/json",
    }


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_kafkajs_reads_every_public_topic(stack: tuple[LocalStack, Path]) -> None:
    """KafkaJS brings no codec but gzip; each of these topics has its own producer."""
    servers = stack[0].bootstrap_servers
    key = uuid.uuid4().hex
    steps = [{"tool": "df", "parameters": {"path": "/"}}]
    request = json.dumps({"idempotency_key": key, "plan": {"steps": steps}})
    followed = programs.kafkajs(_request(stack[0], key, request))
    assert followed.execution_id is not None
    topics = (EVENTS.name, OUTPUT.name, PROGRESS.name)
    read = subprocess.run(
        ["node", "kafkajs-topics.mjs", servers, followed.execution_id, *topics],
        cwd=node_kit.installed(),
        env=programs.login(stack[0].client_options),
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert read.returncode == 0, read.stderr
    found = json.loads(read.stdout)
    assert {found[topic]["execution_id"] for topic in topics} == {followed.execution_id}
