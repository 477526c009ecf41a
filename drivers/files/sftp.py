"""The files of a host over SFTP: the login decides what may be done there."""

from __future__ import annotations

import asyncio
import secrets
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    suppress,
)
from typing import Any, Final, TypeVar

import asyncssh

from drivers.cleanup import run_uncancelled
from drivers.connections import Connection
from drivers.context import RunContext
from drivers.errors import fail
from drivers.files import sftp_pieces
from drivers.files.limits import MOST_ACCOUNT_BYTES, MOST_ENTRIES, MOST_FILE_BYTES
from drivers.files.place import Attributes, Entry, Part, Reading, kind_of, parent_of
from drivers.files.sftp_part import AGAIN_SECONDS, LOST, SETTLE_SECONDS, SftpPart, changes
from drivers.files.sftp_pieces import NoAnswer
from drivers.files.sftp_session import session
from drivers.transfer_files import Unusable
from runtime.config_folders import plain
from toolmeta.invocation import Invocation

T = TypeVar("T")

_ACCOUNTS: Final = {"owner": ("/etc/passwd", "user"), "group": ("/etc/group", "group")}


@asynccontextmanager
async def opened(
    invocation: Invocation, context: RunContext, where: Connection, *, own: bool = True
) -> AsyncIterator[SftpPlace]:
    """The files of a host; raises Unusable. With `own` by the login of the step."""
    async with session(invocation, context, where, own=own) as client:
        yield SftpPlace(invocation, context, where, client, own=own)


class SftpPlace:
    """The files of one host."""

    def __init__(
        self,
        invocation: Invocation,
        context: RunContext,
        where: Connection,
        client: asyncssh.SFTPClient,
        *,
        own: bool,
    ) -> None:
        """Over a session that somebody else ends."""
        self.name = where.name
        self._invocation, self._where = invocation, where
        self.context = context
        self._client, self._own = client, own

    async def look(self, path: str) -> Entry | None:
        """What is there; None where nothing is."""
        try:
            return self._entry(path, await self._asked(self._client.lstat(_usual(self, path))))
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return None
        except (asyncssh.Error, OSError, NoAnswer) as error:
            raise self.unusable(path, error) from None

    @asynccontextmanager
    async def reading(self, path: str) -> AsyncIterator[Reading]:
        """The file, open."""
        async with AsyncExitStack() as stack:
            usual = _usual(self, path)
            try:
                # To open a pipe waits for its other end, and to open a device can do something.
                found = self._entry(path, await self._asked(self._client.stat(usual)))
                if found.kind != "file":
                    raise self._no_file(path)
                file = await self._asked(self._client.open(usual, asyncssh.FXF_READ, encoding=None))
                stack.push_async_callback(self._closed, file)
                entry = self._entry(path, await self._asked(file.stat()))
            except (asyncssh.Error, OSError, NoAnswer) as error:
                raise self.unusable(path, error) from None
            if entry.kind != "file":
                raise self._no_file(path)
            if entry.size > MOST_FILE_BYTES:
                message = f"{path[:300]} on {self.name} has more than {MOST_FILE_BYTES} bytes"
                raise self.fail("invalid_parameters", message)
            opened = _Opened(self, path, file, entry)
            if not entry.size:
                await self._really_empty(path, file)
            yield opened

    def _no_file(self, path: str) -> Unusable:
        return self.fail("invalid_parameters", f"{path[:300]} on {self.name} is no file")

    async def _really_empty(self, path: str, file: sftp_pieces.File) -> None:
        """Raises Unusable for files of /proc and /sys, which say that they are empty and are not.

        What they hold is made while it is read, so there is no size to move or to compare.
        """
        try:
            first = await self._asked(file.read(1, 0))
        except asyncssh.SFTPEOFError:
            return
        except (asyncssh.Error, OSError, NoAnswer) as error:
            raise self.unusable(path, error) from None
        if first:
            message = f"{path[:300]} on {self.name} does not say its size; read it with cat"
            raise self.fail("invalid_parameters", message)

    def part(self, path: str) -> AbstractAsyncContextManager[Part]:
        """A new file that may take the place of `path`."""
        return self._part(path)

    @asynccontextmanager
    async def _part(self, path: str) -> AsyncIterator[Part]:
        path = _usual(self, path)
        name = f"{parent_of(path).rstrip('/')}/.runstream-{secrets.token_hex(8)}.part"
        self.context.acting()
        part = SftpPart(self, path, name)
        try:
            await self.settled(path, part.make())
            yield part
        finally:
            await part.end()
            if part.is_gone:
                self.context.not_acting()

    async def change(self, path: str, attributes: Attributes) -> None:
        """Mode and owner of what is there."""
        self.context.acting()
        path = _usual(self, path)

        async def work() -> None:
            found = await self._client.lstat(path)
            for wanted in changes(found, attributes):
                await self._client.setstat(path, wanted)

        await self.settled(path, work())

    async def make_folder(self, path: str, mode: int) -> None:
        """A folder in one that is there."""
        self.context.acting()
        path = _usual(self, path)

        async def work() -> None:
            await self._client.mkdir(path, asyncssh.SFTPAttrs(permissions=0o700))
            await self._client.setstat(path, asyncssh.SFTPAttrs(permissions=mode))

        await self.settled(path, work())

    async def remove(self, path: str, *, folder: bool) -> None:
        """A file or link, or an empty folder."""
        self.context.acting()
        path = _usual(self, path)
        await self.settled(path, self._client.rmdir(path) if folder else self._client.remove(path))

    async def names(self, path: str) -> list[tuple[str, Entry]]:
        """What is in a folder."""
        found: list[tuple[str, Entry]] = []
        try:
            async with asyncio.timeout(sftp_pieces.ANSWER_SECONDS):
                async for one in self._client.scandir(_usual(self, path)):
                    name = str(one.filename)
                    if name in (".", ".."):
                        continue
                    if "/" in name or not name or len(found) >= MOST_ENTRIES:
                        message = f"{self.name} lists more in {path[:300]} than a folder may have"
                        raise self.fail("limit_exceeded", message)
                    found.append((name, self._entry(path, one.attrs)))
        except (asyncssh.Error, OSError) as error:
            raise self.unusable(path, error) from None
        return found

    async def numbers(self, owner: str | None, group: str | None) -> tuple[int | None, int | None]:
        """The numbers of a user and of a group of the host, by its own lists."""
        return await self._number("owner", owner), await self._number("group", group)

    async def _number(self, field: str, name: str | None) -> int | None:
        if name is None or name.isdigit():
            return None if name is None else int(name)
        file, what = _ACCOUNTS[field]
        text = bytearray()
        with suppress(Unusable):
            async with self.reading(file) as opened:
                if opened.entry.size <= MOST_ACCOUNT_BYTES:
                    async for piece in opened.pieces():
                        text += piece
        for line in text.decode("utf-8", "replace").splitlines():
            parts = line.split(":")
            if parts[0] == name and len(parts) > 2 and parts[2].isdigit():
                return int(parts[2])
        message = f"{field}: {file} of {self.name} has no {what} {name}; give its number instead"
        raise self.fail("not_found", message)

    async def _asked(self, request: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(sftp_pieces.ANSWER_SECONDS):
                return await request
        except TimeoutError:
            raise NoAnswer from None

    async def _closed(self, file: sftp_pieces.File) -> None:
        with suppress(asyncssh.Error, OSError, TimeoutError, ValueError):
            await run_uncancelled(file.close(), SETTLE_SECONDS)

    async def settled(self, path: str, work: Coroutine[Any, Any, T], *, last: bool = False) -> T:
        """What a change came to: a cancel waits for the answer, and counts unless it is the last.

        Raises Unusable.
        """
        task = asyncio.ensure_future(work)
        cancelled = False
        while not task.done():
            try:
                done, _ = await asyncio.wait({task}, timeout=SETTLE_SECONDS)
            except asyncio.CancelledError:
                cancelled = True
                continue
            if not done:
                task.cancel()
                raise self.unusable(path, NoAnswer())
        failed = task.exception()
        if cancelled and not last:
            raise asyncio.CancelledError
        if isinstance(failed, asyncssh.Error | OSError):
            raise self.unusable(path, failed)
        return task.result()

    def _entry(self, path: str, attrs: asyncssh.SFTPAttrs) -> Entry:
        mode, size = attrs.permissions, attrs.size
        if mode is None or size is None or attrs.uid is None or attrs.gid is None:
            message = f"{self.name} does not say size, mode and owner of {path[:300]}"
            raise self.fail("capability_missing", message)
        return Entry(
            kind_of(mode), size, stat.S_IMODE(mode), attrs.uid, attrs.gid, attrs.mtime or 0
        )

    def fail(self, error_class: str, message: str) -> Unusable:
        """To be raised."""
        return Unusable(fail(self._invocation, error_class, message))

    def unusable(self, path: str, error: Exception) -> Unusable:
        """What an error of the session means, to be raised."""
        shown = f"{path[:300]} on {self.name}"
        begun = self.context.stop.effect != "none"
        if isinstance(error, NoAnswer | TimeoutError):
            message = f"{self.name} does not answer any more over SFTP"
            return self.fail("no_answer" if begun else "unreachable", message)
        if isinstance(error, LOST) or not isinstance(error, asyncssh.SFTPError):
            message = f"the connection to {self.name} broke"
            return self.fail("connection_lost" if begun else "unreachable", message)
        if isinstance(error, asyncssh.SFTPNoSuchFile | asyncssh.SFTPNoSuchPath):
            return self.fail("not_found", f"there is no {shown}, or not the folder that it is in")
        if isinstance(error, asyncssh.SFTPPermissionDenied):
            message = f"the login may not do this with {shown}; log in as a user who may, or become"
            return self.fail("capability_missing", message)
        reason = " ".join("".join(filter(str.isprintable, error.reason)).split())[:200]
        message = f"{self.name} refuses this with {path[:300]}: {reason or 'without a reason'}"
        return self.fail("capability_missing", message)

    async def full(self, path: str) -> bool:
        """Whether the file system of the path has no room any more; False where nobody says."""
        with suppress(asyncssh.Error, OSError, NoAnswer):
            found = await self._asked(self._client.statvfs(parent_of(path)))
            return found.bavail * found.frsize < 1024 * 1024
        return False

    @property
    def client(self) -> asyncssh.SFTPClient:
        """The session."""
        return self._client

    async def again(self, work: Callable[[asyncssh.SFTPClient], Awaitable[None]]) -> bool:
        """Whether the work was done over a new connection, after this one broke."""
        try:
            async with asyncio.timeout(AGAIN_SECONDS):
                async with session(
                    self._invocation, self.context, self._where, own=self._own
                ) as client:
                    await work(client)
        except (Unusable, asyncssh.Error, OSError):
            return False
        return True


class _Opened:
    """A file that is open for reading."""

    def __init__(self, place: SftpPlace, path: str, file: sftp_pieces.File, entry: Entry) -> None:
        """Nothing read yet."""
        self._place, self._path, self._file = place, path, file
        self.entry = entry

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Its bytes from the beginning on."""
        try:
            async with aclosing(sftp_pieces.read(self._file, self.entry.size)) as pieces:
                async for piece in pieces:
                    yield piece
        except (asyncssh.Error, OSError, NoAnswer) as error:
            raise self._place.unusable(self._path, error) from None


def _usual(place: SftpPlace, path: str) -> str:
    """The path as it is sent; raises Unusable for one that is not absolute, or has `..`."""
    usual = plain(path)
    if usual is None or "\0" in usual:
        raise place.fail("invalid_parameters", f"{path[:300]} is no absolute path without ..")
    return usual
