"""What holds for every request, whatever answers it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from api import guard
from api.guard import Guard
from api.problems import install
from tests.unit.api.asgi import Asgi


@pytest.fixture
def lines() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def client(lines: list[dict[str, Any]]) -> Asgi:
    application = FastAPI()
    install(application)

    @application.post("/v1/things/{name}")
    async def take(name: str, request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @application.get("/v1/broken")
    def broken() -> None:
        raise RuntimeError("the password is hunter2")

    @application.get("/v1/slow")
    async def slow() -> None:
        await asyncio.sleep(60)

    def note(logger: Any, method: str, event: Any) -> Any:
        lines.append(event)
        raise structlog.DropEvent

    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[note])
    return Asgi(Guard(application, log))


def assert_guarded(answer: httpx.Response) -> None:
    assert "unsafe-inline" not in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"


def test_every_answer_has_the_headers_and_a_line_without_the_query(
    client: Asgi, lines: list[dict[str, Any]]
) -> None:
    good = client.post("/v1/things/x?token=hunter2", content=b"abc")
    assert good.json() == {"bytes": 3}
    assert_guarded(good)
    for path, status in (("/v1/nothing", 404), ("/v1/things/x", 405), ("/v1/broken", 500)):
        answer = client.get(path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["instance"] == path
        assert "hunter2" not in answer.text
        assert_guarded(answer)
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["path"] for line in requests] == [
        "/v1/things/x", "/v1/nothing", "/v1/things/x", "/v1/broken",
    ]  # fmt: skip


def test_a_body_is_bounded_whatever_it_says_of_its_size(client: Asgi) -> None:
    body = b"x" * (guard.MAX_BODY_BYTES + 1)

    async def chunks() -> Any:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    for content in (body, chunks()):
        answer = client.post("/v1/things/x", content=content)
        assert (answer.status_code, answer.json()["type"]) == (
            413,
            "urn:runstream:problem:too_large",
        )
    assert client.post("/v1/things/x", content=body[1:]).status_code == 200


def test_what_takes_too_long_is_said(client: Asgi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "ANSWER_SECONDS", 0.05)
    answer = client.get("/v1/slow")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:runstream:problem:too_slow")
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)

    async def never() -> Any:
        yield b"x"
        await asyncio.sleep(60)

    monkeypatch.setattr(guard, "ANSWER_SECONDS", 10.0)
    assert client.post("/v1/things/x", content=never()).status_code == 408


def test_too_many_requests_at_once_are_told_and_a_stream_does_not_count(
    lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_REQUESTS", 2)
    application = FastAPI()
    release, begun, held = asyncio.Event(), asyncio.Semaphore(0), asyncio.Semaphore(0)

    @application.get("/v1/wait")
    async def wait() -> str:
        held.release()
        await release.wait()
        return "done"

    @application.get("/v1/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> Any:
            yield b"1"
            begun.release()
            await release.wait()

        return StreamingResponse(parts())

    guarded = Guard(application, structlog.get_logger())

    async def run() -> tuple[list[int], dict[str, Any]]:
        transport = httpx.ASGITransport(guarded)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            streams = []
            for _ in range(3):
                streams.append(asyncio.create_task(client.get("/v1/stream")))
                await begun.acquire()
            waiting = []
            for _ in range(2):
                waiting.append(asyncio.create_task(client.get("/v1/wait")))
                await held.acquire()
            refused = await client.get("/v1/wait")
            release.set()
            answers = await asyncio.gather(*streams, *waiting)
            return [one.status_code for one in answers], {
                "status": refused.status_code, "after": refused.headers["retry-after"],
                **refused.json(),
            }  # fmt: skip

    statuses, refused = asyncio.run(run())
    assert statuses == [200] * 5
    assert (refused["status"], refused["after"]) == (503, "1")
    assert refused["type"] == "urn:runstream:problem:busy"
