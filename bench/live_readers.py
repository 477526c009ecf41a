"""Readers of live streams, for `bench.live`: many in one process, some of which read nothing.

Each line on stdin is the id of an execution that begins; every tenth of the readers of executions
follows it to its end. `begin` and `end` bound what is measured; the result is one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

_AT: Final = b'"at":"'


@dataclass
class Measured:
    """What the readers that keep up have seen."""

    port: int
    is_on: bool = False
    delays: dict[str, list[float]] = field(default_factory=dict)
    first_bytes: list[float] = field(default_factory=list)
    failures: int = 0
    cuts: int = 0
    open: int = 0

    def see(self, kind: str, line: bytes, now: float) -> None:
        """Take the delay of one event."""
        at = line.find(_AT)
        if self.is_on and at > 0:
            text = line[at + len(_AT) : at + len(_AT) + 24].decode()
            moment = datetime.fromisoformat(text).timestamp()
            self.delays.setdefault(kind, []).append((now - moment) * 1_000)


async def follow(measured: Measured, kind: str, path: str, who: str) -> None:
    """Read one stream to its end."""
    began = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", measured.port, limit=1 << 22)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {who}\r\n\r\n".encode()
        )
        measured.open += 1
        try:
            status = await reader.readline()
            if b" 200 " not in status:
                measured.failures += 1
                return
            is_first = True
            while line := await reader.readline():
                if is_first and line.startswith(b"retry:"):
                    is_first = False
                    measured.first_bytes.append((time.monotonic() - began) * 1_000)
                elif line.startswith(b'data: {"at"'):
                    measured.see(kind, line, time.time())
                elif line == b"event: cut\n":
                    measured.cuts += 1
        finally:
            measured.open -= 1
            writer.close()
    except (OSError, asyncio.IncompleteReadError, ValueError):
        measured.failures += 1


async def dashboard(measured: Measured, number: int) -> None:
    """Follow the tenant of the probes for ever."""
    while True:
        await follow(measured, "tenant", "/v1/live", f"probe/dashboard-{number}")
        await asyncio.sleep(0.5)


async def stuck(measured: Measured) -> None:
    """Ask for everything of the loaded tenant, and read nothing; again, once cut off."""
    loop = asyncio.get_running_loop()
    while True:
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        try:
            await loop.sock_connect(made, ("127.0.0.1", measured.port))
            await loop.sock_sendall(
                made,
                b"GET /v1/live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bench/slow\r\n\r\n",
            )
            while True:
                await asyncio.sleep(1.0)
                # A connection that was aborted says so to a write.
                await loop.sock_sendall(made, b"\r\n")
        except OSError:
            measured.cuts += 1
        finally:
            made.close()


async def run(port: int, executions: int, dashboards: int, slow: int) -> None:
    """Until `end` comes."""
    measured = Measured(port)
    tasks = {asyncio.create_task(dashboard(measured, n)) for n in range(dashboards)}
    tasks |= {asyncio.create_task(stuck(measured)) for _ in range(slow)}
    lines = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(lines)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    peak = 0
    while word := (await lines.readline()).decode().strip():
        if word == "begin":
            measured.is_on = True
            measured.cuts = measured.failures = 0
        elif word == "end":
            break
        else:
            for number in range(executions // 10):
                path, who = f"/v1/executions/{word}/live", f"probe/page-{number}"
                task = asyncio.create_task(follow(measured, "execution", path, who))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        peak = max(peak, measured.open)
    print(
        json.dumps(
            {
                "delays": measured.delays,
                "first_bytes": measured.first_bytes,
                "failures": measured.failures,
                "cuts": measured.cuts,
                "open": peak,
                "cpu_seconds": sum(resource.getrusage(resource.RUSAGE_SELF)[:2]),
            }
        ),
        flush=True,
    )
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(run(*(int(word) for word in sys.argv[1:5])))
