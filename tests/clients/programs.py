"""Clients of other makers as programs: each one submits a request and follows its events."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from devstack import jars
from devstack.java import find_java
from streams.lifecycle import TERMINAL_EVENTS
from streams.topics import EVENTS, REQUESTS
from tests import node_kit

GO_FOLDER = Path(__file__).parent / "go"
#: The console tools are not part of the broker's own jars.
CONSOLE_TOOLS = f"org.apache.kafka:kafka-tools:{jars.KAFKA_VERSION}"
CONSOLE_TOOLS_SHA256 = "6b88f3f0799c585b5121d9f710e448cd365d4cfd55ff3ab5d2d81f52ae59030d"
_SECONDS = 90


@dataclass
class Request:
    """What is submitted, and by which key its events are known."""

    #: What a client needs to connect, as librdkafka spells it.
    options: Mapping[str, Any]
    #: The same as a file for kcat; that for Java lies beside it.
    properties: Path
    idempotency_key: str
    text: str

    @property
    def bootstrap_servers(self) -> str:
        """Where the broker is."""
        return str(self.options["bootstrap.servers"])


def login(options: Mapping[str, Any]) -> dict[str, str]:
    """The environment in which a client finds the login; a password is no argument."""
    return {
        **os.environ,
        "KAFKA_USERNAME": options["sasl.username"],
        "KAFKA_PASSWORD": options["sasl.password"],
    }


class Followed:
    """The events of the execution that answers a request, up to its terminal event."""

    def __init__(self, idempotency_key: str) -> None:
        self._key = idempotency_key
        self.execution_id: str | None = None
        self.types: list[str] = []
        self.headers: dict[str, str] = {}

    def take(self, value: bytes | str, headers: dict[str, str]) -> bool:
        """Take one record; whether the execution has ended with it."""
        try:
            event = json.loads(value)
        except ValueError:
            return False  # Not an event; the topic may hold what another test has put there.
        if event["type"] == "execution.accepted" and event["data"]["idempotency_key"] == self._key:
            self.execution_id = event["execution_id"]
        if self.execution_id is None or event["execution_id"] != self.execution_id:
            return False
        self.types.append(event["type"])
        self.headers = headers
        return event["type"] in TERMINAL_EVENTS


def _program(argv: list[str], cwd: Path, request: Request) -> Followed:
    """Run a client that does both and prints what it saw as one JSON line."""
    ended = subprocess.run(
        argv,
        cwd=cwd,
        env=login(request.options),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    assert ended.returncode == 0, ended.stderr[-2_000:]
    seen = json.loads(ended.stdout)
    followed = Followed("")
    followed.execution_id = seen["execution_id"]
    followed.types = seen["types"]
    followed.headers = seen["headers"]
    return followed


def kafkajs(request: Request) -> Followed:
    """KafkaJS."""
    return _node("kafkajs-client.mjs", request)


def cloudevents_js(request: Request) -> Followed:
    """The CloudEvents SDK for JavaScript, over KafkaJS."""
    return _node("cloudevents-client.mjs", request)


def _node(script: str, request: Request) -> Followed:
    argv = ["node", script, request.bootstrap_servers, request.idempotency_key, request.text]
    return _program(argv, node_kit.installed(), request)


def franz_go(request: Request) -> Followed:
    """franz-go."""
    if shutil.which("go") is None:
        pytest.skip("no go on this machine")
    wanted = re.search(r"^go (\d+)\.(\d+)", (GO_FOLDER / "go.mod").read_text(), re.MULTILINE)
    here = re.search(
        r"go(\d+)\.(\d+)", subprocess.run(["go", "version"], capture_output=True, text=True).stdout
    )
    assert wanted is not None
    if here is None or (int(here[1]), int(here[2])) < (int(wanted[1]), int(wanted[2])):
        pytest.skip(f"Go {wanted[1]}.{wanted[2]} or newer is needed")
    argv = ["go", "run", ".", request.bootstrap_servers, request.idempotency_key, request.text]
    return _program(argv, GO_FOLDER, request)


def _aiokafka(request: Request) -> dict[str, Any]:
    return {
        "bootstrap_servers": request.bootstrap_servers,
        "security_protocol": request.options["security.protocol"],
        "sasl_mechanism": request.options["sasl.mechanism"],
        "sasl_plain_username": request.options["sasl.username"],
        "sasl_plain_password": request.options["sasl.password"],
    }


def aiokafka(request: Request) -> Followed:
    """aiokafka."""

    async def follow() -> Followed:
        async with AIOKafkaProducer(**_aiokafka(request)) as producer:
            await producer.send_and_wait(REQUESTS.name, request.text.encode())
        followed = Followed(request.idempotency_key)
        async with AIOKafkaConsumer(
            EVENTS.name,
            **_aiokafka(request),
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        ) as consumer:
            async for record in consumer:
                texts = {name: value.decode() for name, value in record.headers}
                if followed.take(record.value, texts):
                    break
        return followed

    return asyncio.run(asyncio.wait_for(follow(), _SECONDS))


def cloudevents_python(request: Request) -> Followed:
    """The CloudEvents SDK for Python, over aiokafka: request and events in binary mode."""
    sent = to_binary(
        CloudEvent(
            attributes={
                "id": request.idempotency_key,
                "type": "org.example.plan",
                "source": "/tests/cloudevents",
                "specversion": "1.0",
                "datacontenttype": "application/json",
            },
            data=json.loads(request.text),
        ),
        JSONFormat(),
    )

    async def follow() -> Followed:
        async with AIOKafkaProducer(**_aiokafka(request)) as producer:
            await producer.send_and_wait(
                REQUESTS.name, sent.value, headers=list(sent.headers.items())
            )
        followed = Followed(request.idempotency_key)
        async with AIOKafkaConsumer(
            EVENTS.name,
            **_aiokafka(request),
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        ) as consumer:
            async for record in consumer:
                message = KafkaMessage(dict(record.headers), record.key, record.value)
                if "ce_id" not in message.headers:
                    continue  # Not an event of ours; another test has put it there.
                event = from_binary(message, JSONFormat())
                attributes = {
                    "ce_id": event.get_id(),
                    "ce_type": event.get_type(),
                    "ce_source": event.get_source(),
                    "ce_specversion": event.get_specversion(),
                    "ce_time": str(event.get_time()),
                    "ce_subject": event.get_subject() or "",
                    "content-type": event.get_datacontenttype() or "",
                }
                if followed.take(json.dumps(event.get_data()), attributes):
                    break
        return followed

    return asyncio.run(asyncio.wait_for(follow(), _SECONDS))


def kcat(request: Request) -> Followed:
    """kcat, as producer and as consumer."""
    if shutil.which("kcat") is None:
        pytest.skip("no kcat on this machine")
    produce = ["kcat", "-F", str(request.properties), "-P", "-t", REQUESTS.name]
    consume = [
        *("kcat", "-F", str(request.properties), "-C", "-t", EVENTS.name, "-q", "-u"),
        *("-o", "beginning", "-X", "isolation.level=read_committed", "-f", "%h\\t%s\\n"),
    ]
    return _console(request, produce, consume)


def java_console(request: Request) -> Followed:
    """kafka-console-producer and kafka-console-consumer."""
    java = [str(find_java()), "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp"]
    classpath = ":".join(str(path) for path in (*jars.ensure_jars(print), _console_tools()))
    produce = [
        *(*java, classpath, "org.apache.kafka.tools.ConsoleProducer"),
        *("--bootstrap-server", request.bootstrap_servers, "--topic", REQUESTS.name),
        *("--command-config", str(request.properties.with_name("java.properties"))),
    ]
    consume = [
        *(*java, classpath, "org.apache.kafka.tools.consumer.ConsoleConsumer"),
        *("--bootstrap-server", request.bootstrap_servers, "--topic", EVENTS.name),
        *("--command-config", str(request.properties.with_name("java.properties"))),
        *("--from-beginning", "--isolation-level", "read_committed"),
        *("--formatter-property", "print.headers=true"),
    ]
    return _console(request, produce, consume)


def _console_tools() -> Path:
    """The jar of the console tools, fetched once into the cache of the broker's jars."""
    cache = jars.cache_folder()
    artifact = jars.maven_context(cache).create_dependency(CONSOLE_TOOLS).artifact
    path = cache / artifact.component.path_prefix / artifact.filename
    if not path.is_file() or jars.sha256(path) != CONSOLE_TOOLS_SHA256:
        path.unlink(missing_ok=True)
        artifact.context.resolver.download(artifact)
    assert jars.sha256(path) == CONSOLE_TOOLS_SHA256, f"{path.name} is not the file that was tried"
    return path


def _console(request: Request, produce: list[str], consume: list[str]) -> Followed:
    """Feed one program a line, and read another one's lines: headers, a tab, the value."""
    sent = subprocess.run(
        produce, input=f"{request.text}\n", capture_output=True, text=True, timeout=_SECONDS
    )
    assert sent.returncode == 0, sent.stderr[-2_000:]
    followed = Followed(request.idempotency_key)
    with _lines(consume) as lines:
        for line in lines:
            headers, _, value = line.rstrip("\n").partition("\t")
            if followed.take(value, _headers(headers)):
                return followed
    raise AssertionError(f"{consume[0]} ended before the terminal event: {followed.types}")


def _headers(text: str) -> dict[str, str]:
    """`name=value,name=value`; a value may have `:` and no comma."""
    pairs = (re.split(r"[=:]", part, maxsplit=1) for part in text.split(","))
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


@contextmanager
def _lines(argv: list[str]) -> Iterator[Iterator[str]]:
    """The lines that a program prints, until the block ends or its time is over."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # Ends the read below, should the event never come.
        limit = threading.Timer(_SECONDS, process.kill)
        limit.start()
        try:
            yield iter(process.stdout.readline, "")
        finally:
            limit.cancel()
            process.kill()
