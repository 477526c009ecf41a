"""The console over believable data: every page without broker or database.

`python -m tests.browser.shown` serves it on 127.0.0.1:8099 for whoever works on the pages.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from queue import SimpleQueue
from typing import Final

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from api import problems
from api.caller import Caller
from api.rights import Rights
from authority.identity import Identity
from authority.policy_file import parse
from tests.browser.believable import Believable, execution_id
from tests.browser.believable_requests import (
    BelievableApprovals,
    BelievableProcedures,
    BelievableRequests,
)
from tests.browser.believable_steps import output_of
from tests.browser.believable_system import (
    BelievableLetters,
    BelievableStarters,
    BelievableSystem,
    CatalogueTools,
)
from toolmeta.registry import load
from web.pages import ROUTERS
from web.sources import system as system_sources
from web.sources.approvals import ByCommand, find_approvals
from web.sources.dead_letters import ByRoute, find_letters
from web.sources.executions import find_executions
from web.sources.start import ByRouter, find_procedures
from web.sources.system import find_starters, find_system, find_tools

POLICY: Final = parse(
    """
version: 1
rules:
  - {id: everybody, effect: allow, actors: ["*"], actions: ["*"], secrets: ["*"]}
  - {id: everybody-controls, effect: allow, actors: ["*"], controls: ["*"]}
""",
    load(),
)


def application(source: Believable | None = None) -> FastAPI:
    """The pages, with a caller who is signed in, and what their scripts ask of the API."""
    app = FastAPI(openapi_url=None)
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.dependency_overrides[find_executions] = lambda: source or Believable()
    replace_sources(app)
    _add_api(app)

    @app.middleware("http")
    async def recognise(
        request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        identity = Identity("acme", "dana@acme", "key-1")
        request.state.caller = Caller(identity, Rights(POLICY, identity), read_only=False)
        return await answer(request)

    return app


def replace_sources(
    app: FastAPI, *, empty: bool = False, requests: BelievableRequests | None = None
) -> None:
    """Believable data for the other pages, or nothing."""
    approvals = BelievableApprovals(0 if empty else 4)
    letters = BelievableLetters(0 if empty else 30)
    procedures, requests = BelievableProcedures(empty=empty), requests or BelievableRequests()
    starters, system = BelievableStarters(empty=empty), BelievableSystem(empty=empty)
    catalogue = CatalogueTools()
    sources: list[tuple[Callable[..., object], object]] = [
        (find_approvals, approvals),
        (ByCommand, approvals),
        (find_procedures, procedures),
        (ByRouter, requests),
        (find_letters, letters),
        (ByRoute, letters),
        (find_starters, starters),
        (system_sources.ByRoute, starters),
        (find_system, system),
        (find_tools, catalogue),
    ]
    for name, source in sources:
        app.dependency_overrides[name] = partial(_itself, source)


def _itself(source: object) -> object:
    return source


def _add_api(app: FastAPI) -> None:
    #: Events that a test sends to whoever follows the tenant.
    app.state.happened = SimpleQueue()

    @app.get("/v1/live")
    async def tenant() -> Response:
        return _stream([], app.state.happened)

    @app.get("/v1/executions/{ident}/live")
    async def execution(ident: str) -> Response:
        snapshot = {"execution_id": ident, "percent": 54.2, "eta_seconds": 122.4}
        return _stream([f"event: progress\ndata: {json.dumps(snapshot)}\n\n"])

    @app.get("/v1/executions/{ident}/steps/{step}/output/text")
    def output(ident: str, step: str, attempt: int, stream: str, offset: int = 0) -> object:
        text = output_of(step, stream)
        rest = text.encode()[offset:]
        return {
            "execution_id": ident, "step": step, "attempt": attempt, "stream": stream,
            "offset": offset, "length": len(rest), "total": len(text.encode()), "ended": True,
            "text": rest.decode(),
        }  # fmt: skip

    @app.get("/v1/executions/{ident}/steps/{step}/output/live")
    async def follow(ident: str, step: str, attempt: int, stream: str) -> Response:
        text = output_of(step, stream)
        chunk = {"index": 0, "offset": 0, "attempt": attempt, "stream": stream, "text": text}
        return _stream([f"id: {attempt}-0\ndata: {json.dumps(chunk)}\n\n"])


def _stream(frames: list[str], happened: SimpleQueue[dict[str, str]] | None = None) -> Response:
    async def send() -> AsyncIterator[str]:
        yield "retry: 2000\n\n"
        for frame in frames:
            yield frame
        while True:
            await asyncio.sleep(0.05)
            while happened is not None and not happened.empty():
                yield f"id: 1.1\ndata: {json.dumps(happened.get())}\n\n"

    return StreamingResponse(send(), media_type="text/event-stream")


def first_ids() -> dict[str, str]:
    """Executions worth looking at, by what they show."""
    numbers = {"running": 0, "approval": 1, "large": 2, "attention": 3, "failed": 7}
    return {name: execution_id(number) for name, number in numbers.items()}


if __name__ == "__main__":
    uvicorn.run(application(), host="127.0.0.1", port=8099, log_level="warning")
