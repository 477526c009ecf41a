"""The executor's side of the secret broker: starts it, asks it, and starts it again if it dies."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from typing import Final

import orjson

from drivers import secret_protocol
from drivers.secret_config import CONFIG, SecretsConfig
from drivers.secret_protocol import MAX_LINE, Answer
from drivers.secret_use import Resolved, SecretError, Use
from toolmeta.secret_references import SecretPath

START_SECONDS: Final = 20.0
#: Longer than the broker waits for a back end, so that its own answer arrives first.
ANSWER_SECONDS: Final = 12.0
#: How long a request waits for a broker that is being started.
READY_SECONDS: Final = 30.0
_RESTART_SECONDS: Final = 1.0
#: What the broker may inherit: where boto3 finds the role of this machine; no credential.
_INHERITED: Final = frozenset(
    {
        "PATH", "HOME", "LANG", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV",
        "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE",
        "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    }
)  # fmt: skip


class BrokerFault(Exception):
    """The broker cannot be started; the message is one line for an operator."""


class SecretBroker:
    """A running broker; for one event loop."""

    def __init__(self, config: SecretsConfig, user: str | None = None) -> None:
        """Starts nothing; `user` is whose process it becomes, None: the executor's."""
        self._config = config
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._number = 0
        #: How many answers came.
        self._answers = 0
        self._starting = asyncio.Lock()
        self._started_at = float("-inf")

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    async def start(self) -> asyncio.StreamWriter:
        """Start it and wait until it is ready; raises BrokerFault."""
        loop = asyncio.get_running_loop()
        self._started_at = loop.time()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.to_thread(self._popen, theirs, ours)
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE)
        try:
            async with asyncio.timeout(START_SECONDS):
                self._writer.write(CONFIG.dump_json(self._config) + b"\n")
                await self._writer.drain()
                line = await reader.readline()
        except (TimeoutError, OSError):
            line = b""
        if not line:
            await self._end()
            raise BrokerFault("the secret broker did not start")
        fault = orjson.loads(line).get("fault")
        if fault is not None:
            await self._end()
            raise BrokerFault(str(fault))
        self._reading = asyncio.create_task(self._read(reader))
        return self._writer

    def _popen(self, theirs: socket.socket, ours: socket.socket) -> subprocess.Popen[bytes]:
        kept = {name: value for name, value in os.environ.items() if name in _INHERITED}
        user = () if self._user is None else (self._user,)
        try:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "drivers.secret_broker", str(theirs.fileno()), *user],
                pass_fds=(theirs.fileno(),),
                env=kept,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise BrokerFault(f"the secret broker cannot be started: {error}") from None

    async def resolve(self, path: SecretPath, use: Use) -> Resolved:
        """Ask for one use of one secret; raises SecretError."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                writer = await self._running()
            reading = self._reading
            self._number += 1
            number, before = self._number, self._answers
            answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self._waiting[number] = answered
            try:
                writer.write(secret_protocol.request(number, path, use))
                async with asyncio.timeout(ANSWER_SECONDS):
                    await writer.drain()
                    answer = await answered
            except TimeoutError:
                if self._answers == before and reading is not None:
                    # It is frozen: it answers each request within that time, if only with a fault.
                    reading.cancel()
                raise
            except OSError:
                # It has ended, and the reader may not have seen it yet: the next request starts it.
                if reading is not None:
                    reading.cancel()
                raise
            finally:
                self._waiting.pop(number, None)
        except (BrokerFault, OSError, TimeoutError):
            message = f"The secret broker does not answer for {path}."
            raise SecretError(message, "secret_unavailable") from None
        return answer.resolved()

    async def close(self) -> None:
        """End it; safe to call twice."""
        async with self._starting:
            await self._end()

    async def _running(self) -> asyncio.StreamWriter:
        """The way to it; it is started again where it has ended, at most once a second."""
        async with self._starting:
            reading = self._reading
            lives = reading is not None and not (reading.done() or reading.cancelling())
            if self._writer is not None and lives:
                return self._writer
            await self._end()
            passed = asyncio.get_running_loop().time() - self._started_at
            await asyncio.sleep(max(0.0, _RESTART_SECONDS - passed))
            return await self.start()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                answer = secret_protocol.read_answer(line)
                self._answers += 1
                waiting = self._waiting.get(answer.number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except (OSError, ValueError):
            return  # As if it had ended: the next request starts another one.
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionResetError())

    async def _end(self) -> None:
        reading, self._reading = self._reading, None
        writer, self._writer = self._writer, None
        process, self._process = self._process, None
        if writer is not None:
            writer.close()
        if reading is not None:
            reading.cancel()
        if process is not None:
            try:
                await asyncio.to_thread(process.wait, 2.0)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
