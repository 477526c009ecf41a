"""The live part of the API alone, for `bench.live`: whoever connects is who they say they are.

`runstream api` verifies tokens; what is measured here is what comes after that.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from api import app, database
from api.caller import Caller
from api.connection import Connection
from api.live import live
from api.parts import Parts
from api.rights import Rights
from authority.identity import Identity
from authority.policy import Policy
from authority.policy_document import Document
from runtime import logs, settings
from runtime.settings import ApiSettings

_POLICY = Policy(
    Document.model_validate(
        {
            "version": 1,
            "rules": [
                {"id": "all", "effect": "allow", "actors": ["*"], "controls": ["read"]},
            ],
        }
    )
)


class _Named:
    """Takes the caller from the login header, as tenant and actor."""

    def __init__(self, application: FastAPI) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"").decode()
        tenant, _, actor = given.removeprefix("Bearer ").partition("/")
        identity = Identity(tenant, actor, kid="bench")
        found = Caller(identity, Rights(_POLICY, identity), read_only=True)
        scope.setdefault("state", {})["caller"] = found
        await self._application(scope, receive, send)


def main() -> int:
    """Serve until SIGTERM; the port is the argument."""
    loaded = settings.load(ApiSettings)
    log = logs.configure(loaded, "api")
    connections = database.pool(loaded)
    # Live streams use nothing else of it.
    nothing: Any = None
    parts = Parts(
        loaded, log, connections, tools=nothing, policies=nothing, tokens=nothing,
        records=nothing, answers=nothing,
    )  # fmt: skip
    application = app.create(parts)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with connections:
            async with live.opened(loaded, log, connections, lambda caller: caller) as opened:
                parts.live = opened
                yield

    application.router.lifespan_context = lifespan
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1_024)
    config = uvicorn.Config(_Named(application), http=Connection, log_config=None, access_log=False)
    asyncio.run(uvicorn.Server(config).serve([listener]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
