"""The files of one machine, as the tools for files see them: this one, or a host over SFTP."""

from __future__ import annotations

import stat
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

Kind = Literal["file", "folder", "link", "other"]

#: The bits of a mode that a plan may set on a file.
PERMISSIONS: Final = 0o777


@dataclass(frozen=True, slots=True)
class Entry:
    """What is at a path; a link is not followed."""

    kind: Kind
    size: int
    #: With the bits for set-user-id, set-group-id and sticky.
    mode: int
    uid: int
    gid: int
    modified: int

    @property
    def fields(self) -> dict[str, Any]:
        """For the output of the step."""
        return {"mode": f"{self.mode:04o}", "uid": self.uid, "gid": self.gid}


@dataclass(frozen=True, slots=True)
class Attributes:
    """Mode and owner that something is to have; None leaves what it has."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None

    def differ(self, entry: Entry) -> bool:
        """Whether the entry has others."""
        return (
            self.mode not in (None, entry.mode)
            or self.uid not in (None, entry.uid)
            or self.gid not in (None, entry.gid)
        )


class Reading(Protocol):
    """A file that is open for reading."""

    @property
    def entry(self) -> Entry:
        """What it was when it was opened."""
        ...

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Its bytes from the beginning on, at most as many as it had when it was opened."""
        ...


class Part(Protocol):
    """A new file under a name that nobody knows, in the folder of the one that it replaces."""

    async def write(self, piece: bytes) -> None:
        """Append to it."""
        ...

    async def complete(self, attributes: Attributes) -> None:
        """Wait until all is written, set mode and owner, and have it on the disk."""
        ...

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """What the machine has of it."""
        ...

    async def take_place(self, backup: str | None) -> None:
        """Give it its name, at once; `backup` is a further name for what had it before."""
        ...


class Place(Protocol):
    """The files of one machine; every method raises Unusable where it may not or cannot do it."""

    name: str

    async def look(self, path: str) -> Entry | None:
        """What is there; None where nothing is."""
        ...

    def reading(self, path: str) -> AbstractAsyncContextManager[Reading]:
        """The file, open."""
        ...

    def part(self, path: str) -> AbstractAsyncContextManager[Part]:
        """A new file that may take the place of `path`; removed at the end if it did not."""
        ...

    async def change(self, path: str, attributes: Attributes) -> None:
        """Mode and owner of what is there."""
        ...

    async def make_folder(self, path: str, mode: int) -> None:
        """A folder in one that is there."""
        ...

    async def remove(self, path: str, *, folder: bool) -> None:
        """A file or link, or an empty folder."""
        ...

    async def names(self, path: str) -> list[tuple[str, Entry]]:
        """What is in a folder; more than the most that is read at once is refused."""
        ...

    async def numbers(self, owner: str | None, group: str | None) -> tuple[int | None, int | None]:
        """The numbers of a user and of a group of that machine, by name or number."""
        ...


def entry_of(found: Any, size: int) -> Entry:
    """The entry of a mode, owner and time as `os.stat` has them."""
    mode: int = found.st_mode
    return Entry(
        kind_of(mode), size, stat.S_IMODE(mode), found.st_uid, found.st_gid, int(found.st_mtime)
    )


def kind_of(mode: int) -> Kind:
    """Whether it is a file, a folder, a link or something else."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


def parent_of(path: str) -> str:
    """The folder that a path is in."""
    return path.rpartition("/")[0] or "/"
