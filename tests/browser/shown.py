"""The console over believable data: every page without broker or database.

`python -m tests.browser.shown` serves it on 127.0.0.1:8099 for whoever works on the pages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import uvicorn
from fastapi import FastAPI, Request, Response

from api import problems
from api.caller import Caller
from api.rights import Rights
from authority.identity import Identity
from authority.policy_file import built_in
from tests.browser.believable import Believable
from toolmeta.registry import load
from web.pages import ROUTERS
from web.sources.executions import find_executions

POLICY = built_in(load())


def application(source: Believable | None = None) -> FastAPI:
    """The pages, with a caller who is signed in."""
    app = FastAPI(openapi_url=None)
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.dependency_overrides[find_executions] = lambda: source or Believable()

    @app.middleware("http")
    async def recognise(
        request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        identity = Identity("acme", "dana@acme", "key-1")
        request.state.caller = Caller(identity, Rights(POLICY, identity), read_only=False)
        return await answer(request)

    return app


if __name__ == "__main__":
    uvicorn.run(application(), host="127.0.0.1", port=8099, log_level="warning")
