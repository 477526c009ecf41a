"""Requests to an application in this process, without a server."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx


class Asgi:
    """Sends one request at a time."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._application, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://runs.example"
            ) as client:
                return await client.request(method, path, **given)

        return asyncio.run(send())

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.request("GET", path, **given)

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self.request("POST", path, **given)
