"""The secret broker: the process that reads secrets and decides who may use them.

The executor starts it with one end of a socket pair, through which it gets its configuration and
every request; it ends when the executor closes the other end. Neither its arguments nor its
environment hold a credential.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import socket
import struct
import sys
from typing import Final

import orjson
from pydantic import ValidationError

from drivers.secret_config import CONFIG
from drivers.secret_protocol import MAX_LINE, answer, read_request
from drivers.secret_resolver import Resolver
from drivers.secret_use import SecretError
from runtime import environment

#: Requests that are answered at the same time; further ones wait in the socket.
_AT_ONCE: Final = 256
_CREDENTIALS: Final = struct.Struct("3i")


def main(arguments: list[str]) -> int:
    """Serve the socket of this number, as the user of this name, if any; returns the exit code."""
    environment.forbid_reading()
    # Stopping is the executor's: its steps may still need secrets while it drains.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(arguments[0])) as connection:
        if not is_parent(connection):
            return 2
        return asyncio.run(serve(connection, *arguments[1:2]))


def is_parent(connection: socket.socket) -> bool:
    """Whether the process at the other end is the one that started this one."""
    if sys.platform != "linux":
        return True
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, _, _ = _CREDENTIALS.unpack(data)
    return bool(pid == os.getppid())


def become(user: str) -> None:
    """Give up root for another user; raises ValueError."""
    try:
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    except KeyError:
        raise ValueError(f"RUNSTREAM_SECRETS_USER: there is no user {user}") from None
    except PermissionError:
        text = "RUNSTREAM_SECRETS_USER: only an executor of root can start another user's process"
        raise ValueError(text) from None
    os.environ["HOME"] = account.pw_dir
    environment.forbid_reading()


async def serve(connection: socket.socket, user: str | None = None) -> int:
    """Answer until the other end is closed."""
    reader, writer = await asyncio.open_connection(sock=connection, limit=MAX_LINE)
    try:
        config = CONFIG.validate_json(await reader.readline())
        # The libraries are loaded first: they may lie where only this executor's user can read.
        resolver = Resolver(config)
        if user is not None:
            become(user)
    except ValidationError:
        return 2
    except ValueError as error:
        writer.write(orjson.dumps({"fault": str(error)}) + b"\n")
        await writer.drain()
        return 2
    writer.write(b"{}\n")
    slots = asyncio.Semaphore(_AT_ONCE)
    running: set[asyncio.Task[None]] = set()

    async def respond(line: bytes) -> None:
        try:
            number, path, use = read_request(line)
            try:
                writer.write(answer(number, await resolver.resolve(path, use)))
            except SecretError as error:
                writer.write(answer(number, error))
            except Exception as error:
                # Its text could hold a value; its type cannot.
                text = f"The secret broker failed with {type(error).__name__}."
                writer.write(answer(number, SecretError(text, "secret_unavailable")))
            await writer.drain()
        except ConnectionError:
            return  # The executor is gone, and this process ends.
        finally:
            slots.release()

    try:
        while line := await reader.readline():
            await slots.acquire()
            task = asyncio.create_task(respond(line))
            running.add(task)
            task.add_done_callback(running.discard)
    except ConnectionError:
        pass
    finally:
        resolver.close()
        writer.close()
    # A thread that waits for a back end would hold the process back.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
