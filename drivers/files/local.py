"""The files of the executor's machine: those of the plan's tenant, below folders of the operator.

The executor itself reads and writes them, so the rules of `transfer_files` hold for each path: each
of its names is opened relative to the folder before it, and none of them is a link.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    aclosing,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Final, TypeVar

from drivers.cleanup import run_uncancelled
from drivers.context import RunContext
from drivers.files.limits import MOST_ENTRIES, MOST_FILE_BYTES
from drivers.files.place import Attributes, Entry, Part, Reading, entry_of
from drivers.threads import in_thread, threaded
from drivers.transfer_files import PIECE_BYTES, Named, TransferFiles, Unusable
from toolmeta.invocation import Invocation

T = TypeVar("T")

_FIELD: Final = "path"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_REMOVE_SECONDS: Final = 30.0


class LocalPlace:
    """The files of this machine that the plan may use."""

    def __init__(self, invocation: Invocation, context: RunContext, field: str = _FIELD) -> None:
        """`field` is the parameter that names the path."""
        self.name = "this executor"
        self._files = TransferFiles(invocation, context)
        self._context = context
        self._field = field

    async def look(self, path: str) -> Entry | None:
        """What is there; None where nothing is, nor a folder that it could be in."""
        if self._files.is_tenants(path):
            # It is made where a file or folder is.
            return Entry("folder", 0, 0o700, os.geteuid(), os.getegid(), 0)
        try:
            return await self._done(path, _look)
        except Unusable as error:
            if error.failure.error_class == "not_found":
                return None
            raise

    @asynccontextmanager
    async def reading(self, path: str) -> AsyncIterator[Reading]:
        """The file, open."""
        async with threaded(self._files.reading(self._field, path, MOST_FILE_BYTES)) as opened:
            file, size = opened
            yield _Opened(file, entry_of(os.fstat(file.fileno()), size))

    def part(self, path: str) -> AbstractAsyncContextManager[Part]:
        """A new file that may take the place of `path`."""
        return self._part(path)

    @asynccontextmanager
    async def _part(self, path: str) -> AsyncIterator[Part]:
        named = self._files.named(self._field, path)
        async with threaded(self._files.below(named, make=True)) as folder:
            self._context.acting()
            part = await in_thread(_new, (self._files, named, folder))
            try:
                yield part
            finally:
                await run_uncancelled(asyncio.to_thread(part.end), _REMOVE_SECONDS)
                if not part.placed:
                    self._context.not_acting()

    async def change(self, path: str, attributes: Attributes) -> None:
        """Mode and owner of what is there."""
        self._context.acting()
        await self._done(path, partial(_change, attributes))

    async def make_folder(self, path: str, mode: int) -> None:
        """A folder in one that is there."""
        self._context.acting()
        await self._done(path, partial(_make_folder, mode), make=True)

    async def remove(self, path: str, *, folder: bool) -> None:
        """A file or link, or an empty folder."""
        self._context.acting()
        await self._done(path, partial(_remove, folder))

    async def names(self, path: str) -> list[tuple[str, Entry]]:
        """What is in a folder."""
        found = await self._done(path, _names)
        if len(found) > MOST_ENTRIES:
            message = f"{path[:300]} has more than {MOST_ENTRIES} entries"
            raise self._files.fail("invalid_parameters", message)
        return found

    async def numbers(self, owner: str | None, group: str | None) -> tuple[int | None, int | None]:
        """The numbers of a user and of a group of this machine."""
        return (
            await in_thread(self._number, ("owner", owner)),
            await in_thread(self._number, ("group", group)),
        )

    def _number(self, asked: tuple[str, str | None]) -> int | None:
        field, name = asked
        if name is None or name.isdigit():
            return None if name is None else int(name)
        try:
            return pwd.getpwnam(name).pw_uid if field == "owner" else grp.getgrnam(name).gr_gid
        except KeyError:
            what = "user" if field == "owner" else "group"
            message = f"{field}: this executor's machine has no {what} {name}"
            raise self._files.fail("not_found", message) from None

    async def _done(self, path: str, work: Callable[[int, str], T], *, make: bool = False) -> T:
        """The work on the last name of the path, in its folder."""
        named = self._files.named(self._field, path)

        def inside(_: None) -> T:
            with self._files.below(named, make=make) as folder, self._explained(named):
                return work(folder, named.parts[-1])

        return await in_thread(inside, None)

    @contextmanager
    def _explained(self, named: Named) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise self._files.unreadable(named, error) from None
        except OSError as error:
            raise self._files.unwritten(named, error) from None


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file that is open for reading."""

    file: BinaryIO
    entry: Entry

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Its bytes from the beginning on."""
        async with aclosing(_pieces(self.file.fileno(), self.entry.size)) as pieces:
            async for piece in pieces:
                yield piece


class _LocalPart:
    """A new file under a name that nobody knows."""

    def __init__(self, files: TransferFiles, named: Named, folder: int) -> None:
        """Made at once; blocking."""
        self._files, self._named, self._folder = files, named, folder
        self._name = f".runstream-{secrets.token_hex(8)}.part"
        self._size = 0
        self.placed = False
        try:
            self._file = os.open(self._name, _NEW, 0o600, dir_fd=folder)
        except OSError as error:
            raise files.unreadable(named, error) from None

    async def write(self, piece: bytes) -> None:
        """Append to it."""
        await in_thread(self._write, piece)

    def _write(self, piece: bytes) -> None:
        left = memoryview(piece)
        with self._explained():
            while left:
                left = left[os.write(self._file, left) :]
        self._size += len(piece)

    async def complete(self, attributes: Attributes) -> None:
        """Set mode and owner, and have it on the disk."""
        await in_thread(self._complete, attributes)

    def _complete(self, attributes: Attributes) -> None:
        with self._explained():
            _set(self._file, attributes)
            os.fsync(self._file)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """What is on the disk of it."""
        async with aclosing(_pieces(self._file, self._size + 1)) as pieces:
            async for piece in pieces:
                yield piece

    async def take_place(self, backup: str | None) -> None:
        """Give it its name."""
        await run_uncancelled(asyncio.to_thread(self._take_place, backup), _REMOVE_SECONDS)

    def _take_place(self, backup: str | None) -> None:
        name, folder = self._named.parts[-1], self._folder
        kept = None if backup is None else backup.rpartition("/")[2]
        with self._explained():
            found = None
            with suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if found is not None:
                self._files.checked(self._named, found)
            if kept is not None:
                os.link(name, kept, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            try:
                os.rename(self._name, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                if kept is not None:
                    os.unlink(kept, dir_fd=folder)
                raise
            self.placed = True
            os.fsync(folder)

    def end(self) -> None:
        """Close it, and remove it where it did not take its place."""
        os.close(self._file)
        if not self.placed:
            with suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self._folder)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._files.unwritten(self._named, error) from None


def _new(given: tuple[TransferFiles, Named, int]) -> _LocalPart:
    return _LocalPart(*given)


async def _pieces(file: int, most: int) -> AsyncGenerator[bytes, None]:
    offset = 0
    while offset < most:
        piece = await in_thread(lambda at: os.pread(file, min(PIECE_BYTES, most - at), at), offset)
        if not piece:
            return
        offset += len(piece)
        yield piece


def _look(folder: int, name: str) -> Entry | None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return entry_of(found, found.st_size)


def _set(file: int, attributes: Attributes) -> None:
    found = os.fstat(file)
    uid = -1 if attributes.uid in (None, found.st_uid) else attributes.uid
    gid = -1 if attributes.gid in (None, found.st_gid) else attributes.gid
    if (uid, gid) != (-1, -1):
        os.fchown(file, _number_of(uid), _number_of(gid))
    if attributes.mode is not None:
        os.fchmod(file, attributes.mode)


def _number_of(value: int | None) -> int:
    return -1 if value is None else value


def _change(attributes: Attributes, folder: int, name: str) -> None:
    # Without a right to read it there is no right to change it here either.
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        _set(file, attributes)
    finally:
        os.close(file)


def _make_folder(mode: int, folder: int, name: str) -> None:
    os.mkdir(name, 0o700, dir_fd=folder)
    _change(Attributes(mode), folder, name)


def _remove(is_folder: bool, folder: int, name: str) -> None:
    if is_folder:
        os.rmdir(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)


def _names(folder: int, name: str) -> list[tuple[str, Entry]]:
    found: list[tuple[str, Entry]] = []
    opened = os.open(name, _FOLDER, dir_fd=folder)
    try:
        with os.scandir(opened) as entries:
            for one in entries:
                status: Any = one.stat(follow_symlinks=False)
                found.append((one.name, entry_of(status, status.st_size)))
                if len(found) > MOST_ENTRIES:
                    break
    finally:
        os.close(opened)
    return found
