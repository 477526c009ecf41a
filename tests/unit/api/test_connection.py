"""Connections of the API: what clients do that no well-behaved one does."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from api.connection import Connection


class _Left(asyncio.Transport):
    """The transport of a client that has left: its socket is closed."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Its socket, nothing else."""
        if name != "socket":
            return default
        closed = socket.socket()
        closed.close()
        return closed


async def _connection() -> Connection:
    async def nothing(scope: Any, receive: Any, send: Any) -> None:
        """No request comes."""

    config = uvicorn.Config(nothing, http=Connection, log_config=None)
    config.load()
    return Connection(config=config, server_state=ServerState(), app_state={})


def test_a_stream_for_a_reader_that_has_left_already_is_no_error() -> None:
    connection = asyncio.run(_connection())
    connection.transport = _Left()
    connection.carry_stream(lambda: None)
