"""What a sender is answered, and what of a delivery is handed to Kafka."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import structlog
import yaml

from api import app, guard
from api.authentication import Authentication
from api.guard import Guard
from api.hooks.hooks import Hooks, SecretSource
from api.parts import Parts
from api.problems import MEDIA_TYPE, Problem
from api.records import Record
from api.routes import hooks as route
from streams.hooks import HookDelivery
from tests.unit.api.asgi import Asgi

SECRET = "a-secret-of-a-sender"
TOKEN = "a-token-of-alertmanager"
JSON = {"Content-Type": "application/json"}
BODY = b'{"ref": "refs/heads/main", "big": 123456789012345678901234567890, "\\u00fc": 1}'
HOOKS: list[dict[str, Any]] = [
    {"name": "github", "kind": "github", "secret": "env/GITHUB"},
    {"name": "alerts", "kind": "alertmanager", "secret": "env/TOKEN"},
    {
        "name": "slow",
        "kind": "github",
        "secret": "env/GITHUB",
        "limit": {"deliveries": 2, "per_seconds": 3_600},
    },
]


#: Making it takes longer than all that is asked of it here.
APPLICATION = app.create(None)


class Taken:
    """In the place of the broker's producer."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.problem: Problem | None = None
        self.seconds = 0.0

    async def send(self, record: Record) -> None:
        await asyncio.sleep(self.seconds)
        if self.problem is not None:
            raise self.problem
        self.records.append(record)


class Lab:
    """The API with hooks, and without a broker and a database."""

    def __init__(self, folder: Path) -> None:
        file = folder / "hooks.yaml"
        file.write_text(yaml.safe_dump({"hooks": HOOKS}))
        source = SecretSource({"GITHUB": SECRET, "TOKEN": TOKEN}, None)
        self.taken = Taken()
        self.lines: list[dict[str, Any]] = []

        def note(logger: Any, method: str, event: Any) -> Any:
            self.lines.append(event)
            raise structlog.DropEvent

        log = structlog.wrap_logger(structlog.PrintLogger(), processors=[note])
        given: dict[str, Any] = {
            "settings": None, "log": log, "database": None, "tools": None, "policies": None,
            "tokens": None, "records": self.taken, "answers": None,
            "hooks": Hooks(file, source, lambda _: None),
        }  # fmt: skip
        nobody: Any = None
        APPLICATION.state.parts = Parts(**given)
        inside: Any = Authentication(APPLICATION, nobody)
        self.guarded: Any = Guard(inside, log)
        self.client = Asgi(self.guarded)

    def post(self, name: str, content: Any = BODY, **headers: str) -> httpx.Response:
        return self.client.post(f"/v1/hooks/{name}", content=content, headers=headers)


def signed(body: bytes = BODY, delivery: str = "d-1", event: str = "push") -> dict[str, str]:
    made = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {
        **JSON,
        "X-Hub-Signature-256": f"sha256={made}",
        "X-GitHub-Delivery": delivery,
        "X-GitHub-Event": event,
        "Cookie": "runstream=x",
        "X-Forwarded-For": "10.0.0.1",
    }


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_delivery_becomes_one_record_with_what_was_sent_and_nothing_secret(lab: Lab) -> None:
    answer = lab.post("github", **signed())
    assert (answer.status_code, answer.json()) == (202, {"hook": "github", "delivery": "d-1"})
    (record,) = lab.taken.records
    assert (record.topic.name, record.key, record.ident) == (
        "hooks.received", "github", "github:d-1",
    )  # fmt: skip
    found = HookDelivery.model_validate_json(record.value)
    assert (found.hook, found.kind, found.event) == ("github", "github", "push")
    # As it was sent, to the last digit.
    assert BODY in record.value
    assert json.loads(record.value)["body"] == json.loads(BODY)
    kept = {"hook", "kind", "delivery", "event", "received_at", "body"}
    assert set(orjson.loads(record.value)) == kept
    assert SECRET not in str(lab.lines)


def test_an_alert_is_known_by_its_body_and_its_token_is_not_kept(lab: Lab) -> None:
    alert = b'{"alerts": []}'
    given = {**JSON, "Authorization": f"Bearer {TOKEN}"}
    answers = [lab.post("alerts", alert, **given) for _ in range(2)]
    assert [one.json()["delivery"] for one in answers] == [hashlib.sha256(alert).hexdigest()] * 2
    assert TOKEN not in str(lab.taken.records) + str(lab.lines)


def test_whoever_cannot_prove_it_learns_nothing_whatever_they_send(lab: Lab) -> None:
    wrong = {**signed(), "X-Hub-Signature-256": f"sha256={'0' * 64}"}
    answers = [
        lab.post("github", **wrong),
        lab.post("github", **JSON),
        lab.post("github", **signed(b"{}")),
        lab.post("github", b"not json", **{"Content-Type": "text/plain"}),
        lab.post("alerts", **JSON),
        lab.post("alerts", Authorization=f"Basic {TOKEN}"),
        lab.post("slow", **wrong),
        lab.post("no-such-hook", **signed()),
        lab.post("no-such-hook", b""),
        lab.post("x" * 3_000),
        lab.post("%00%0a.."),
    ]
    told = {(one.status_code, one.json()["type"], one.json()["detail"]) for one in answers}
    assert len(told) == 1
    assert answers[0].status_code == 401
    assert answers[0].headers["content-type"] == MEDIA_TYPE
    assert lab.taken.records == []
    whys = [line["why"] for line in lab.lines if line["event"] == "hook refused"]
    assert len(whys) == len(answers)
    assert all(any(one in why for one in ("X-Hub", "Authorization", "no hook")) for why in whys)
    assert SECRET not in str(lab.lines) and TOKEN not in str(lab.lines)


def test_who_has_no_hooks_takes_nothing(lab: Lab) -> None:
    bare: Any = app.create(None)
    assert Asgi(bare).post("/v1/hooks/github", content=BODY).status_code == 401


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"payload=%7B%7D", "application/x-www-form-urlencoded", 415),
        (BODY, "", 415),
        (BODY, "text/json", 415),
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"a": NaN}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (BODY, "application/json; charset=utf-8", 202),
        (BODY, "application/cloudevents+json", 202),
        (b"[]", "APPLICATION/JSON", 202),
    ],
)
def test_a_delivery_is_json(lab: Lab, body: bytes, kind: str, status: int) -> None:
    answer = lab.post("github", body, **{**signed(body), "Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert len(lab.taken.records) == (status == 202)


def test_a_body_is_bounded_whatever_it_says_of_its_size_and_whoever_sends_it(lab: Lab) -> None:
    most = guard.MAX_HOOK_BYTES
    whole = b'"' + b"x" * (most - 2) + b'"'

    async def chunks() -> Any:
        for _ in range(9):
            yield b"x" * (most // 8)

    for name in ("github", "no-such-hook"):
        for content in (whole + b" ", chunks()):
            answer = lab.post(name, content, **signed(whole))
            assert answer.status_code == 413
            assert "512 KiB" in answer.json()["detail"]
    assert lab.taken.records == []
    assert lab.post("github", whole, **signed(whole)).status_code == 202


def test_a_sender_is_limited_and_a_forger_does_not_use_its_share(lab: Lab) -> None:
    for _ in range(5):
        assert lab.post("slow", **JSON).status_code == 401
    assert [lab.post("slow", **signed()).status_code for _ in range(3)] == [202, 202, 429]
    answer = lab.post("slow", **signed())
    assert 1_700 < int(answer.headers["retry-after"]) <= 1_800
    assert answer.json()["type"] == "urn:runstream:problem:limited"
    assert "2 deliveries in 3600 s" in answer.json()["detail"]
    assert lab.post("github", **signed()).status_code == 202


def test_kafka_that_does_not_answer_is_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.taken.problem = Problem(503, "busy", "the queue of the producer is full")
    answer = lab.post("github", **signed())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "send it again, with the same id" in answer.json()["detail"]
    monkeypatch.setattr(route, "KAFKA_SECONDS", 0.01)
    lab.taken.problem, lab.taken.seconds = None, 60.0
    assert lab.post("github", **signed()).status_code == 503


def test_deliveries_that_wait_do_not_keep_those_with_a_token_out(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_DELIVERIES", 2)
    monkeypatch.setattr(guard, "MAX_REQUESTS", 1)
    release = asyncio.Event()
    begun = asyncio.Semaphore(0)

    async def slow() -> Any:
        yield b"{"
        begun.release()
        await release.wait()
        yield b"}"

    async def run() -> tuple[int, int, list[int]]:
        transport = httpx.ASGITransport(lab.guarded, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            held = []
            for _ in range(2):
                held.append(asyncio.create_task(client.post("/v1/hooks/github", content=slow())))
                await begun.acquire()
            third = await client.post("/v1/hooks/github", content=b"{}")
            other = await client.get("/v1/openapi.json")
            release.set()
            return third.status_code, other.status_code, [
                one.status_code for one in await asyncio.gather(*held)
            ]  # fmt: skip

    assert asyncio.run(run()) == (503, 200, [401, 401])


def test_a_body_that_does_not_arrive_is_not_waited_for(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "HOOK_SECONDS", 0.05)

    async def never() -> Any:
        yield b"x"
        await asyncio.sleep(60)

    assert lab.post("github", never(), **signed()).status_code == 408
