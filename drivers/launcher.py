"""Starting programs from the executor, through the launch server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from drivers.attempt_supervisor import LENGTH_BYTES, RELEASE, Request
from drivers.processes import Member

_ROOT: Final = str(Path(__file__).parents[1])
_SERVER: Final = (
    "import sys; sys.path.append(sys.argv[1]); from drivers.launch_server import main; main()"
)
#: Of what a program writes, at a time.
READ_BYTES: Final = 64 * 1024
_START_SECONDS: Final = 30.0
#: Until the launch server has ended after the end of its input.
_END_SECONDS: Final = 10.0
#: Until a supervisor has ended what was left.
CLOSE_SECONDS: Final = 15.0


class Program:
    """A program that was started; its supervisor lives until `close`."""

    def __init__(self, connection: socket.socket) -> None:
        """Owns the connection from now on."""
        self._connection = connection
        self._received = bytearray()
        self._transports: list[asyncio.ReadTransport] = []
        self.stdout = asyncio.StreamReader(limit=READ_BYTES)
        self.stderr = asyncio.StreamReader(limit=READ_BYTES)
        self.pid = 0
        self.supervisor: Member | None = None
        #: The pipes of its output, as /proc names them.
        self.pipes: frozenset[str] = frozenset()
        self.exit_code: int | None = None
        #: The limit that the attempt exceeded, by its name in the settings.
        self.limit: str | None = None

    async def read_from(self, reader: asyncio.StreamReader, pipe: int) -> None:
        """Take this pipe as its output; owns it from now on."""
        protocol = asyncio.StreamReaderProtocol(reader)
        file = os.fdopen(pipe, "rb", 0)
        try:
            name = f"pipe:[{os.fstat(pipe).st_ino}]"
            loop = asyncio.get_running_loop()
            transport, _ = await loop.connect_read_pipe(lambda: protocol, file)
        except BaseException:
            file.close()
            raise
        self.pipes |= {name}
        self._transports.append(transport)

    async def start(self, request: Request) -> None:
        """Raises the OSError for which the program could not be started."""
        text = json.dumps(asdict(request)).encode()
        sent = len(text).to_bytes(LENGTH_BYTES, "big") + text
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_START_SECONDS):
                await loop.sock_sendall(self._connection, sent)
                answer = await self._answer()
        except (BrokenPipeError, ConnectionResetError):
            answer = None
        if answer is None:
            # The launch server could not fork.
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        self.pid = answer["pid"]
        if answer["started"] is not None:
            self.supervisor = Member(answer["supervisor"], answer["started"])

    async def exited(self) -> int:
        """The exit code as soon as there is one, negative for a signal.

        Raises ConnectionError where the supervisor was killed, so that nobody knows it.
        """
        answer = await self._answer()
        if answer is None:
            raise ConnectionError("the supervisor of the program was killed")
        self.limit = answer["limit"]
        code: int = answer["exit"]
        self.exit_code = code
        return code

    async def close(self, *, release: bool) -> None:
        """Return once the supervisor has ended what still runs; with `release` it may go on.

        Safe to call twice. Raises TimeoutError where that took too long.
        """
        for transport in self._transports:
            transport.close()
        if self._connection.fileno() < 0:
            return
        try:
            with contextlib.suppress(OSError):
                if release:
                    self._connection.send(RELEASE)
                self._connection.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(CLOSE_SECONDS):
                while (answer := await self._answer()) is not None:
                    if answer.get("ended") is False:
                        raise TimeoutError
                    if "ended" in answer:
                        return  # The folder is removed meanwhile.
        finally:
            self._connection.close()

    async def _answer(self) -> dict[str, Any] | None:
        """The supervisor's next line; None where it has ended."""
        loop = asyncio.get_running_loop()
        while b"\n" not in self._received:
            try:
                data = await loop.sock_recv(self._connection, 4096)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self._received += data
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received[:] = rest
        answer: dict[str, Any] = json.loads(line)
        return answer


class Launcher:
    """Starts the launch server with the first program; one that has ended is replaced."""

    def __init__(self) -> None:
        """Starts nothing."""
        self._server: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    async def start(self, request: Request, stdin: str | None, lock: int | None) -> Program:
        """The started program; raises the OSError for which it could not be started.

        The supervisor holds `lock` too, so that a user id is not given to another program before.
        """
        ours, its = socket.socketpair()
        ours.setblocking(False)
        program = Program(ours)
        try:
            # Closed here whatever fails: on a machine that has no descriptors left, none is lost.
            with its, contextlib.ExitStack() as opened:

                def keep(descriptor: int) -> int:
                    opened.callback(os.close, descriptor)
                    return descriptor

                given = [its.fileno(), keep(_file_of(stdin))]
                for reader in (program.stdout, program.stderr):
                    pipe, end = os.pipe()
                    given.append(keep(end))
                    await program.read_from(reader, pipe)
                self._send(given if lock is None else [*given, lock])
            server = self._server
            try:
                await program.start(request)
            except TimeoutError:
                if server is not None and server is self._server:
                    # It may be frozen for good; what it has started does not need it.
                    server.kill()
                    await asyncio.to_thread(server.wait)
                raise
        except BaseException:
            await program.close(release=False)
            raise
        return program

    def close(self) -> None:
        """End the server; programs that are still supervised go on until their own close."""
        server, self._server = self._server, None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if server is None:
            return
        try:
            server.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def _send(self, descriptors: list[int]) -> None:
        for last in (False, True):
            if self._server is None or self._channel is None or self._server.poll() is not None:
                self.close()
                self._start()
            assert self._channel is not None  # noqa: S101
            try:
                socket.send_fds(self._channel, [b"+"], descriptors)
            except (BrokenPipeError, ConnectionResetError):
                # It was killed.
                if last:
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
                self.close()
                continue
            return

    def _start(self) -> None:
        ours, its = socket.socketpair()
        with its:
            self._server = subprocess.Popen(
                # `-I -S` reads no packages and no settings of the environment.
                [sys.executable, "-I", "-S", "-c", _SERVER, _ROOT],
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                # SIGINT of a terminal is handled by the executor.
                start_new_session=True,
            )
        # A server that does not read must not stop the event loop.
        ours.setblocking(False)
        self._channel = ours


def _file_of(text: str | None) -> int:
    """Stdin as a file that exists in memory only, at its beginning; /dev/null where there is none.

    It may hold a secret. Unlike a pipe it needs nobody who writes while the program runs.
    """
    if text is None:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    file = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        left = memoryview(text.encode())
        while left:
            left = left[os.write(file, left) :]
        os.lseek(file, 0, os.SEEK_SET)
    except BaseException:
        os.close(file)
        raise
    return file
