"""A laboratory for live streams: topics, a sink, an API, and clients that reconnect."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import httpx
import orjson
import psycopg
import uvicorn
from confluent_kafka import Producer
from fastapi import FastAPI
from pydantic import SecretStr

from api import app, database
from api.caller import Caller
from api.connection import Connection
from api.live import live
from api.parts import Parts
from api.rights import Rights
from authority.identity import Identity
from authority.policy import Policy
from authority.policy_document import Document
from runtime import logs
from runtime.health import Health
from runtime.settings import ApiSettings, SinkSettings
from sinks.app import READS, Sink
from sinks.migrate import migrate
from streams.events import Event, encode_event
from streams.ids import mint_execution_id, partition_for, route_key, route_of
from streams.topics import EVENTS, PROGRESS, Topic
from tests import brokers
from tests.brokers import client_options

#: Everybody with a key reads what they asked for; `reader` reads all of it, `dev-reader` of dev.
POLICY = Policy(
    Document.model_validate(
        {
            "version": 1,
            "rules": [
                {
                    "id": "reader",
                    "effect": "allow",
                    "actors": ["reader*"],
                    "controls": ["read"],
                },
                {
                    "id": "dev-reader",
                    "effect": "allow",
                    "actors": ["dev-reader"],
                    "controls": ["read"],
                    "environments": ["dev"],
                },
                {
                    "id": "own",
                    "effect": "allow",
                    "actors": ["ci"],
                    "controls": ["read"],
                    "own": True,
                },
            ],
        }
    )
)


def caller(tenant: str, actor: str) -> Caller:
    """Somebody with a key."""
    identity = Identity(tenant, actor, kid="k")
    return Caller(identity, Rights(POLICY, identity), read_only=False)


class NamedCallers:
    """In the place of the tokens: whoever the login header names, by tenant and actor."""

    def __init__(self, application: FastAPI) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Put the caller into the state of the request."""
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        if given.startswith(b"Bearer "):
            tenant, _, actor = given.removeprefix(b"Bearer ").decode().partition("/")
            scope.setdefault("state", {})["caller"] = caller(tenant, actor)
        await self._application(scope, receive, send)


@dataclass
class Api:
    """One API on a free port, in a thread with an event loop of its own."""

    settings: ApiSettings
    #: Callers whose token does not count any more.
    revoked: set[str] = field(default_factory=set)
    url: str = ""
    live: live.Live | None = None

    def __post_init__(self) -> None:
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        log = logs.configure(self.settings, "api")
        connections = database.pool(self.settings)
        # Live streams use nothing else of it.
        nothing: Any = None
        parts = Parts(
            self.settings, log, connections, tools=nothing, policies=nothing, tokens=nothing,
            records=nothing, answers=nothing,
        )  # fmt: skip
        application = app.create(parts)

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            with connections:
                async with live.opened(self.settings, log, connections, self._recheck) as opened:
                    parts.live = self.live = opened
                    self._loop = asyncio.get_running_loop()
                    yield

        application.router.lifespan_context = lifespan
        config = uvicorn.Config(
            NamedCallers(application),
            http=Connection,
            log_config=None,
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=10,
        )
        self._server = uvicorn.Server(config)

        def run() -> None:
            assert self._server is not None
            asyncio.run(self._server.serve([listener]))

        self._thread = threading.Thread(target=run, name="api", daemon=True)
        self._thread.start()
        eventually(lambda: bool(self._server and self._server.started), "the API has started")

    def wait_until_ready(self) -> None:
        """Topics that were just made may have no leader yet."""
        eventually(lambda: bool(self.live and self.live.hub.ready.is_set()), "the topics are read")

    def _recheck(self, found: Caller) -> Caller | None:
        return None if found.actor in self.revoked else found

    def stop(self) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive(), "the API does not stop"

    def end_streams(self) -> None:
        """As at a stop of the process."""
        assert self._loop is not None
        assert self.live is not None
        self._loop.call_soon_threadsafe(self.live.stop)

    def connections(self) -> int:
        """How many connections the server has."""
        assert self._server is not None
        return len(self._server.server_state.connections)

    def get(self, path: str, who: str = "acme/reader", **headers: str) -> httpx.Response:
        """The whole answer."""
        given = {"Authorization": f"Bearer {who}", **headers}
        return httpx.get(self.url + path, headers=given, timeout=20, verify=False)

    @contextmanager
    def stream(
        self, path: str, who: str = "acme/reader", last_id: str | None = None, timeout: float = 30.0
    ) -> Iterator[httpx.Response]:
        """An open stream."""
        headers = {"Authorization": f"Bearer {who}"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        with httpx.stream(
            "GET", self.url + path, headers=headers, timeout=timeout, verify=False
        ) as response:
            yield response


@dataclass
class Said:
    """One event as a browser would dispatch it."""

    kind: str
    data: Any
    last_id: str


class Browser:
    """What a browser makes of the bytes of a stream, by the rules of the HTML standard."""

    def __init__(self) -> None:
        self.last_id = ""
        self._bytes = b""
        self._id: str | None = None
        self._kind = ""
        self._data: list[str] = []

    def feed(self, more: bytes) -> list[Said]:
        self._bytes += more
        found = []
        while (end := self._bytes.find(b"\n")) >= 0:
            line, self._bytes = self._bytes[:end].decode(), self._bytes[end + 1 :]
            if not line:
                said = self._dispatch()
                if said is not None:
                    found.append(said)
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                self._id = value
            elif name == "event":
                self._kind = value
            elif name == "data":
                self._data.append(value)
        return found

    def _dispatch(self) -> Said | None:
        if self._id is not None:
            self.last_id = self._id
        data, kind = self._data, self._kind
        self._data, self._kind = [], ""
        if not data:
            return None
        return Said(kind or "message", orjson.loads("\n".join(data)), self.last_id)


def eventually(condition: Callable[[], bool], what: str, seconds: float = 180.0) -> None:
    """Wait until the condition holds; fail with `what` when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


class LiveLab:
    """Topics and a database of one test, and what acts on them."""

    def __init__(self, kafka: str, dsn: str, prefix: str) -> None:
        self.kafka = kafka
        self.dsn = dsn
        self.prefix = prefix
        migrate(dsn)
        self.producer = Producer({**client_options(kafka), "linger.ms": 2, "log_level": 2})

    def api_settings(self, **more: Any) -> ApiSettings:
        return ApiSettings(
            bootstrap_servers=self.kafka,
            topic_prefix=self.prefix,
            database_url=SecretStr(self.dsn),
            kafka_options=brokers.kafka_options(self.kafka),
            **more,
        )

    @contextmanager
    def api(self, *, ready: bool = True, **more: Any) -> Iterator[Api]:
        made = Api(self.api_settings(**more))
        made.start()
        try:
            if ready:
                made.wait_until_ready()
            yield made
        finally:
            made.stop()

    @contextmanager
    def sink(self) -> Iterator[None]:
        settings = SinkSettings(
            bootstrap_servers=self.kafka,
            topic_prefix=self.prefix,
            database_url=SecretStr(self.dsn),
            kafka_options=brokers.kafka_options(
                self.kafka, {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 1_000}
            ),
        )
        stop = threading.Event()
        sink = Sink(settings, logs.configure(settings, "sink"), Health(("kafka", "database")), stop)
        thread = threading.Thread(target=sink.run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive(), "the sink does not stop"

    def emit(self, *events: Event, tenant: str = "acme") -> None:
        for event in events:
            told = replace(event, tenant=tenant)
            key = route_of(event.execution_id).encode()
            self.put(EVENTS, key, encode_event(told), key)

    def put(self, topic: Topic, key: bytes, value: bytes, route: bytes) -> None:
        number = partition_for(route, topic.partitions)
        while True:
            try:
                self.producer.produce(self.prefix + topic.name, value, key=key, partition=number)
                self.producer.poll(0)
                return
            except BufferError:
                self.producer.poll(0.1)

    def flush(self) -> None:
        assert self.producer.flush(30) == 0

    def ask(self, query: str) -> Any:
        """The one value of a query."""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def stored(self, execution_id: str | None = None) -> int:
        """Events in Postgres."""
        which = "" if execution_id is None else " WHERE execution_id = %s"
        given = [] if execution_id is None else [execution_id]
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute(
                b"SELECT count(*) FROM execution.execution_events" + which.encode(), given
            ).fetchone()
        assert row is not None
        return int(row[0])


def new_id(name: str, at: float | None = None) -> str:
    """An execution id of now, for a name of its own."""
    moment = time.time() if at is None else at
    return mint_execution_id(route_key("acme", name), int(moment * 1_000), hash(name) & (2**42 - 1))


#: What streams and the sink read.
TOPICS: Final = (*READS, PROGRESS)
