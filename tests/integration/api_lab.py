"""The API's paths that read, on a real database and as a caller of the test's choice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import httpx
import orjson
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr

from api import app, database
from api.caller import Caller
from api.parts import Parts
from api.rights import Rights
from authority.identity import Identity
from authority.policy import Policy
from authority.policy_document import Document
from runtime import logs
from runtime.settings import ApiSettings
from toolmeta import registry

#: Everybody of every tenant may read everything of it; `half` only part of what others asked for.
RULES: dict[str, Any] = {
    "version": 1,
    "rules": [
        {"id": "all", "effect": "allow", "controls": ["*"], "actors": ["ann", "bob"]},
        {
            "id": "own",
            "effect": "allow",
            "controls": ["read", "approve"],
            "actors": ["half"],
            "own": True,
        },
        {
            "id": "dev",
            "effect": "allow",
            "controls": ["read"],
            "actors": ["half"],
            "environments": ["dev"],
            "approval_levels": [0],
        },
    ],
}


class Api:
    """The application, asked by one caller at a time."""

    def __init__(self, application: FastAPI) -> None:
        self.application = application
        self.caller: Caller | None = None

    def as_(self, actor: str, tenant: str = "default") -> Api:
        """The same application for another caller."""
        identity = Identity(tenant, actor, "kid")
        other = Api(self.application)
        policy = Policy(Document.model_validate_json(orjson.dumps(RULES)))
        other.caller = Caller(identity, Rights(policy, identity), read_only=False)
        return other

    def response(
        self, path: str, headers: Mapping[str, str] | None = None, **query: Any
    ) -> httpx.Response:
        """The answer to a GET below /v1."""
        return asyncio.run(self._get(path, dict(headers or {}), query))

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of an answer that is one."""
        found = self.response(path, **query)
        assert found.status_code == 200, found.text
        return found.json()

    async def _get(
        self, path: str, headers: dict[str, str], query: dict[str, Any]
    ) -> httpx.Response:
        self.application.state.calling = self.caller
        transport = httpx.ASGITransport(self.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.get(f"/v1{path}", params=query, headers=headers)


@contextmanager
def api(dsn: str, **settings: Any) -> Iterator[Api]:
    """The API over a database; other settings are those of its process."""
    chosen = ApiSettings(database_url=SecretStr(dsn), **settings)
    with database.pool(chosen) as connections:
        nothing = cast(Any, None)
        parts = Parts(
            settings=chosen,
            log=logs.configure(chosen, "api"),
            database=connections,
            tools=registry.load(),
            policies=nothing,
            tokens=nothing,
            records=nothing,
            answers=nothing,
        )
        application = app.create(parts)

        @application.middleware("http")
        async def known(request: Request, call_next: Any) -> Response:
            request.state.caller = application.state.calling
            found: Response = await call_next(request)
            return found

        yield Api(application)
        topics = getattr(application.state, "topics", None)
        if topics is not None:
            topics.close()
