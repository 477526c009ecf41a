"""A new file on a host over SFTP, which takes the place of another one when it is whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any, Final, Protocol, TypeVar

import asyncssh

from drivers.cleanup import run_uncancelled
from drivers.context import RunContext
from drivers.files import sftp_pieces
from drivers.files.place import Attributes
from drivers.files.sftp_pieces import NoAnswer, Writer
from drivers.transfer_files import Unusable

T = TypeVar("T")

#: For one change to be answered, also after a cancel.
SETTLE_SECONDS: Final = 15.0
#: For what did not take its place to be removed, over a connection that still works.
_END_SECONDS: Final = 5.0
#: For a new connection, by which the rest of a broken one is removed.
AGAIN_SECONDS: Final = 20.0
#: The session ended before an answer.
LOST: Final = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection)
_NEW: Final = asyncssh.FXF_READ | asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_EXCL


class SftpFiles(Protocol):
    """What a new file needs of the host that it is on."""

    name: str
    context: RunContext

    @property
    def client(self) -> asyncssh.SFTPClient:
        """The session."""
        ...

    def fail(self, error_class: str, message: str) -> Unusable:
        """To be raised."""
        ...

    def unusable(self, path: str, error: Exception) -> Unusable:
        """What an error of the session means, to be raised."""
        ...

    async def full(self, path: str) -> bool:
        """Whether the file system of the path has no room any more."""
        ...

    async def settled(self, path: str, work: Coroutine[Any, Any, T], *, last: bool = False) -> T:
        """What a change came to."""
        ...

    async def again(self, work: Callable[[asyncssh.SFTPClient], Awaitable[None]]) -> bool:
        """Whether the work was done over a new connection."""
        ...


class SftpPart:
    """A new file under a name that nobody knows."""

    def __init__(self, place: SftpFiles, path: str, name: str) -> None:
        """Not there yet."""
        self._place, self._path, self._name = place, path, name
        self._file: sftp_pieces.File | None = None
        self._writer: Writer | None = None
        self._placed = False
        #: It was to take its place, and nobody said whether it did.
        self._unsure = False
        #: Nothing of it is left, and nothing was changed.
        self.is_gone = True

    async def make(self) -> None:
        """Have it on the host, for its owner only."""
        self.is_gone = False
        mode = asyncssh.SFTPAttrs(permissions=0o600)
        try:
            self._file = await self._place.client.open(self._name, _NEW, mode, encoding=None)
        except LOST:
            raise
        except asyncssh.SFTPError:
            self.is_gone = True
            raise
        self._writer = Writer(self._file)

    @property
    def _opened(self) -> tuple[sftp_pieces.File, Writer]:
        if self._file is None or self._writer is None:
            raise self._place.fail("internal", "the file is not open")
        return self._file, self._writer

    async def write(self, piece: bytes) -> None:
        """Append to it."""
        try:
            await self._opened[1].write(piece)
        except (asyncssh.Error, OSError, NoAnswer) as error:
            raise await self._unwritten(error) from None

    async def complete(self, attributes: Attributes) -> None:
        """Wait until all is written, set mode and owner, and have it on the disk."""
        file, writer = self._opened
        try:
            await writer.flush()
            for wanted in changes(await file.stat(), attributes):
                await file.setstat(wanted)
            # Servers without the extension keep it in memory as long as they keep any file there.
            with suppress(asyncssh.SFTPOpUnsupported):
                await file.fsync()
        except (asyncssh.Error, OSError, NoAnswer) as error:
            raise await self._unwritten(error) from None

    async def _unwritten(self, error: Exception) -> Unusable:
        place = self._place
        if isinstance(error, asyncssh.SFTPFailure) and await place.full(self._path):
            message = f"the file system of {self._path[:300]} on {place.name} is full"
            return place.fail("limit_exceeded", message)
        return place.unusable(self._path, error)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """What the host has of it."""
        file, writer = self._opened
        try:
            async with aclosing(sftp_pieces.read(file, writer.size + 1)) as pieces:
                async for piece in pieces:
                    yield piece
        except (asyncssh.Error, OSError, NoAnswer) as error:
            raise self._place.unusable(self._path, error) from None

    async def take_place(self, backup: str | None) -> None:
        """Give it its name."""
        if self._place.context.stop.requested:
            raise asyncio.CancelledError
        await self._place.settled(self._path, self._take_place(backup), last=True)

    async def _take_place(self, backup: str | None) -> None:
        client = self._place.client
        if backup is not None:
            try:
                await client.link(self._path, backup)
            except asyncssh.SFTPError as error:
                raise self._no_backup(error) from None
        # Nobody knows before the answer whether it was done.
        self._unsure = True
        try:
            await client.posix_rename(self._name, self._path)
        except LOST:
            raise
        except asyncssh.SFTPOpUnsupported:
            self._unsure = False
            message = (
                f"{self._place.name} cannot replace a file at once: its SFTP server has no "
                "posix-rename@openssh.com"
            )
            raise self._place.fail("capability_missing", message) from None
        except asyncssh.SFTPError:
            self._unsure = False
            if backup is not None:
                await client.remove(backup)
            raise
        self._placed, self._unsure = True, False

    def _no_backup(self, error: asyncssh.SFTPError) -> Unusable:
        found = self._place.unusable(self._path, error)
        message = f"backup: no second name can be given to the old file: {found.failure.message}"
        return self._place.fail(found.failure.error_class, message)

    async def end(self) -> None:
        """Close it, and remove it where it did not take its place."""
        file, writer, place = self._file, self._writer, self._place
        if self.is_gone:
            return
        if writer is not None:
            await run_uncancelled(writer.drop(), _END_SECONDS)
        try:
            # Both within one time: a host that answers neither is asked over a new connection.
            await run_uncancelled(self._ended(file), _END_SECONDS)
            self.is_gone = not self._placed
        except (asyncssh.Error, OSError):
            if not self._placed:
                self.is_gone = await run_uncancelled(place.again(self._removed), 2 * AGAIN_SECONDS)
        if self._placed:
            return
        if self._unsure:
            # That it is not there under its own name may be since it has the other one.
            self.is_gone = False
            return
        if not self.is_gone:
            place.context.evidence["cancel_unconfirmed"] = (
                f"{self._name[:300]} on {place.name} may be left over: the connection broke"
            )

    async def _ended(self, file: sftp_pieces.File | None) -> None:
        if file is not None:
            await file.close()
        if not self._placed:
            await self._removed(self._place.client)

    async def _removed(self, client: asyncssh.SFTPClient) -> None:
        with suppress(asyncssh.SFTPNoSuchFile):
            await client.remove(self._name)


def changes(found: asyncssh.SFTPAttrs, wanted: Attributes) -> list[asyncssh.SFTPAttrs]:
    """The requests that give it these attributes; the owner first: that clears bits."""
    found_changes = []
    uid = found.uid if wanted.uid is None else wanted.uid
    gid = found.gid if wanted.gid is None else wanted.gid
    if (uid, gid) != (found.uid, found.gid):
        found_changes.append(asyncssh.SFTPAttrs(uid=uid, gid=gid))
    if wanted.mode is not None:
        found_changes.append(asyncssh.SFTPAttrs(permissions=wanted.mode))
    return found_changes
