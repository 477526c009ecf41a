"""The routes of the API over the router's own decisions, without a broker and a database.

What the API sends is decided about at once, as signed by the API; what the router writes is read by
whoever waits for it. `tests/integration/test_api.py` has the same over a real stack.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import httpx
import structlog

from api import app
from api.caller import Caller
from api.guard import Guard
from api.parts import Parts
from api.records import Record
from api.rights import Rights
from authority.identity import Forged, Identity, Signer, Vouched
from authority.policy import Policy
from streams.events import Event, encode_event
from streams.topics import Topic
from tests.unit.router.simulation import OPEN_POLICY, Simulation

T = TypeVar("T")
#: Key -> whose it is.
PEOPLE = {
    "k-ann": ("default", "ann"),
    "k-bob": ("default", "bob"),
    "k-eve": ("other", "eve"),
}


class ByApi:
    """The API has signed every record; each a microsecond after the one before."""

    def __init__(self) -> None:
        self._at = 0

    def signer(self, message: Any, topic: Topic, now: float) -> Signer | Vouched | Forged | None:
        self._at += 1
        return Vouched("api-key", self._at, "api")

    def of_key(self, kid: str, signed_at: int, now: float) -> Signer | Forged:
        if kid not in PEOPLE:
            return Forged(f"the key {kid} is not trusted here")
        return Signer(kid, *PEOPLE[kid], signed_at)

    def report_time(self, message: Any, domain: str | None, now: float) -> int | Forged:
        return round(now * 1_000_000)


class _Watch:
    def __init__(self, marks: tuple[str, ...]) -> None:
        self.events: list[Event] = []
        self._marks = [json.dumps(mark, ensure_ascii=False)[1:-1].encode() for mark in marks]

    def tell(self, events: list[Event]) -> None:
        """Those that have a mark, as `api.event_reader` does."""
        self.events += [
            event for event in events if any(mark in encode_event(event) for mark in self._marks)
        ]

    async def first(self, wanted: Callable[[Event], T | None], seconds: float) -> T | None:
        for event in self.events:
            found = wanted(event)
            if found is not None:
                return found
        return None


class _Rows:
    """The table of executions, as the router knows them."""

    def __init__(self, router: Simulation) -> None:
        self._router = router

    @contextmanager
    def connection(self) -> Iterator[_Rows]:
        yield self

    def execute(self, query: str, parameters: dict[str, Any]) -> _Rows:
        self._wanted = parameters["id"]
        return self

    def fetchone(self) -> dict[str, Any] | None:
        accepted = [
            one["data"] | {"tenant": one["tenant"]}
            for one in self._router.events
            if one["execution_id"] == self._wanted and one["type"] == "execution.accepted"
        ]
        if not accepted:
            return None
        (data,) = accepted
        names = ("tenant", "actor", "environment")
        return {**{name: data[name] for name in names}, "level": data["approval_level"]}


class Lab:
    """The API, a router behind it, and what was sent."""

    def __init__(self, policy: str | None = None, *, answers: bool = True) -> None:
        self.router = Simulation(
            authentication=ByApi(), require_signatures=True, policy=policy or OPEN_POLICY
        )
        self.sent: list[Record] = []
        self._answers = answers
        self._watching: set[_Watch] = set()
        self._application = app.create(self._parts())

    def _parts(self) -> Parts:
        given: dict[str, Any] = {
            "settings": None, "log": structlog.get_logger(), "database": _Rows(self.router),
            "tools": self.router.tools, "policies": None, "tokens": None, "records": self,
            "answers": self,
        }  # fmt: skip
        return Parts(**given)

    @asynccontextmanager
    async def watch(self, route: str, *marks: str) -> AsyncIterator[_Watch]:
        """As `api.answers.Answers`."""
        found = _Watch(marks)
        self._watching.add(found)
        yield found
        self._watching.discard(found)

    async def send(self, record: Record) -> None:
        """As `api.records.Records`."""
        self.sent.append(record)
        seen = len(self.router.log)
        self.router.produce(record.topic, record.value, record.key.encode())
        for watch in self._watching if self._answers else ():
            watch.tell(self.router.log[seen:])

    def post(
        self, path: str, body: Any = None, *, by: str = "k-ann", **given: Any
    ) -> httpx.Response:
        """What the API answers to this person."""
        if body is not None:
            given["content" if isinstance(body, bytes) else "json"] = body

        async def called(scope: Any, receive: Any, send: Any) -> None:
            identity = Identity(*PEOPLE[by], by)
            policy: Policy = self.router.policy
            caller = Caller(identity, Rights(policy, identity), read_only=False)
            scope.setdefault("state", {})["caller"] = caller
            await self._application(scope, receive, send)

        async def request() -> httpx.Response:
            guarded: Any = Guard(called, structlog.get_logger())
            transport = httpx.ASGITransport(guarded, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                return await client.post(path, **given)

        return asyncio.run(request())
