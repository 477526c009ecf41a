"""SQL on a server that answers as it likes, or on a good one that is asked for too much."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from drivers.context import Failure, Outcome
from drivers.databases import received
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from toolmeta.invocation import Invocation

_MEGABYTE = 1024 * 1024


class Server:
    """Answers the first statement with one row that never ends.

    Source: the message formats of the PostgreSQL documentation, "Frontend/Backend Protocol".
    """

    def __init__(self) -> None:
        self.sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                length = int.from_bytes(await reader.readexactly(4))
                body = await reader.readexactly(length - 4)
                if body[:4] == (3 << 16).to_bytes(4):
                    break
                writer.write(b"N")  # no TLS, no GSS
            writer.write(b"R" + (8).to_bytes(4) + bytes(4))  # logged in
            writer.write(b"Z" + (5).to_bytes(4) + b"I")
            await reader.readexactly(1)
            writer.write(b"D" + (1_000 * _MEGABYTE).to_bytes(4))
            while self.sent < 900 * _MEGABYTE:
                writer.write(bytes(_MEGABYTE))
                await writer.drain()
                self.sent += _MEGABYTE
        writer.close()


@pytest.mark.parametrize("write", [False, True])
def test_an_answer_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch, write: bool) -> None:
    monkeypatch.setattr(received, "MOST_BYTES", _MEGABYTE)

    async def inside() -> tuple[Outcome, Server]:
        hostile = Server()
        server = await asyncio.start_server(hostile.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        arguments = {"sql": "select 1", "host": "127.0.0.1", "port": port, "user": "u",
                     "database": "d", "password": "word", "sslmode": "disable",
                     "write": write}  # fmt: skip
        opened = Resources(settings(allow_private_addresses=True))
        try:
            run = Run(opened, Invocation("psql", "sql", call="query", arguments=arguments))
            return await run.outcome(), hostile
        finally:
            await opened.close()
            server.close()

    outcome, hostile = asyncio.run(inside())
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "limit_exceeded"
    assert "ask for less" in outcome.message
    # The rest of it: what one look to the next lets through.
    assert hostile.sent < 500 * _MEGABYTE
