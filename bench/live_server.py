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

import psycopg
import uvicorn
from fastapi import FastAPI
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from api import app
from api.caller import Caller
from api.live import live
from api.live.connection import StreamConnection
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
    database: ConnectionPool[psycopg.Connection[dict[str, Any]]] = ConnectionPool(
        loaded.database_url.get_secret_value(),
        kwargs={"row_factory": dict_row, "autocommit": True},
        min_size=1,
        max_size=8,
        open=False,
    )
    parts = Parts(loaded, log, database)
    application = app.create(parts)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        database.open()
        async with live.opened(loaded, log, database, lambda caller: caller) as opened:
            parts.live = opened
            yield
        database.close()

    application.router.lifespan_context = lifespan
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1_024)
    config = uvicorn.Config(
        _Named(application), http=StreamConnection, log_config=None, access_log=False
    )
    asyncio.run(uvicorn.Server(config).serve([listener]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
