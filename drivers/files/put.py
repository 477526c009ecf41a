"""Putting a file: nothing of it is seen before it is whole, checked, and its owner's."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from drivers.context import RunContext
from drivers.errors import fail
from drivers.files import diff
from drivers.files.limits import MOST_DIFFED_BYTES
from drivers.files.place import PERMISSIONS, Attributes, Entry, Place
from drivers.files.progress import Progress, digest
from drivers.files.sources import Source
from drivers.transfer_files import Unusable
from runtime.config_folders import plain
from toolmeta.invocation import Invocation


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file as the plan wants it."""

    path: str
    mode: int | None
    owner: str | None
    group: str | None
    backup: bool
    verify: bool
    sha256: str | None
    dry_run: bool
    diff: bool | None
    #: Whether a file with other bytes may be replaced.
    overwrite: bool = True

    @classmethod
    def of(cls, arguments: dict[str, Any]) -> Wanted:
        """Out of the arguments of a call."""
        mode = arguments.get("mode")
        return cls(
            plain(str(arguments["path"])) or str(arguments["path"]),
            None if mode is None else int(str(mode), 8),
            arguments.get("owner"),
            arguments.get("group"),
            bool(arguments.get("backup")),
            bool(arguments.get("verify", True)),
            arguments.get("sha256"),
            bool(arguments.get("dry_run")),
            arguments.get("diff"),
            bool(arguments.get("overwrite", True)),
        )


@dataclass(slots=True)
class Put:
    """One file that is put to its place."""

    invocation: Invocation
    context: RunContext
    place: Place
    source: Source
    wanted: Wanted

    async def done(self) -> dict[str, Any]:
        """The output of the step; raises Unusable."""
        wanted, place = self.wanted, self.place
        old = await place.look(wanted.path)
        if old is not None and old.kind != "file":
            message = (
                f"path: {wanted.path[:300]} on {place.name} is a {_KINDS[old.kind]} and no file; "
                "name the file itself"
            )
            raise self._fail("conflict", message)
        uid, gid = await place.numbers(wanted.owner, wanted.group)
        attributes = _attributes(wanted, old, uid, gid)
        compared = old is not None and old.size == self.source.size
        times = (2 if compared else 0) + (2 if wanted.verify else 1)
        progress = Progress(self.context, times * self.source.size)
        if old is not None and compared and (same := await self._same(progress)) is not None:
            return await self._unchanged(old, attributes, same)
        if old is not None and not wanted.overwrite:
            message = f"{wanted.path[:300]} is there already; say `overwrite: true`"
            raise self._fail("conflict", message)
        shown = await self._diff(old, attributes)
        if wanted.dry_run:
            found, size = await digest(self.source.pieces(), progress, "reading")
            self._expect(found, size)
            return self._output(old, attributes, found, size, changed=True, **shown.fields)
        backup = _backup_of(wanted.path) if wanted.backup and old is not None else None
        found, size = await self._written(attributes, backup, progress)
        kept = {} if backup is None else {"backup": backup}
        return self._output(old, attributes, found, size, changed=True, **kept, **shown.fields)

    async def _same(self, progress: Progress) -> str | None:
        """The hash of the file, where it has the bytes already; one of the same size is there."""
        if self.wanted.sha256 is not None:
            new = self.wanted.sha256
        else:
            new, _ = await digest(self.source.pieces(), progress, "comparing")
        async with self.place.reading(self.wanted.path) as opened:
            old, _ = await digest(opened.pieces(), progress, "comparing")
        return new if old == new else None

    async def _unchanged(self, old: Entry, attributes: Attributes, sha256: str) -> dict[str, Any]:
        changed = attributes.differ(old)
        if changed and not self.wanted.dry_run:
            await self.place.change(self.wanted.path, attributes)
        return self._output(old, attributes, sha256, old.size, changed=changed)

    async def _written(
        self, attributes: Attributes, backup: str | None, progress: Progress
    ) -> tuple[str, int]:
        wanted, place = self.wanted, self.place
        async with place.part(wanted.path) as part:
            hashed, size = hashlib.sha256(), 0
            async with aclosing(self.source.pieces()) as pieces:
                async for piece in pieces:
                    hashed.update(piece)
                    size += len(piece)
                    await part.write(piece)
                    progress.add(len(piece), "writing")
            found = hashed.hexdigest()
            self._expect(found, size)
            await part.complete(attributes)
            if wanted.verify:
                there, _ = await digest(part.pieces(), progress, "verifying")
                if there != found:
                    message = (
                        f"{place.name} has other bytes of {wanted.path[:300]} than were sent; the "
                        "file was left as it was"
                    )
                    raise self._fail("conflict", message)
            if self.context.stop.requested:
                raise asyncio.CancelledError
            await part.take_place(backup)
        return found, size

    def _expect(self, sha256: str, size: int) -> None:
        """Raises Unusable where these are not the bytes that are to be put."""
        if size != self.source.size:
            message = f"the source changed while it was read: {size} of {self.source.size} bytes"
            raise self._fail("conflict", message)
        if self.wanted.sha256 not in (None, sha256):
            found = "another one" if self.invocation.secrets else sha256
            message = f"sha256: the source has {found}; the file was left as it was"
            raise self._fail("conflict", message)

    async def _diff(self, old: Entry | None, attributes: Attributes) -> diff.Shown:
        refused = diff.may_show(
            self.wanted.diff,
            secrets=bool(self.invocation.secrets),
            old_mode=None if old is None else old.mode,
            new_mode=attributes.mode or 0,
        )
        if refused is not None:
            return diff.Shown(left_out=refused)
        if max(self.source.size, 0 if old is None else old.size) > MOST_DIFFED_BYTES:
            return diff.Shown(left_out=f"more than {MOST_DIFFED_BYTES} bytes")
        new = b"".join([piece async for piece in self.source.pieces()])
        before: bytes | None = None
        if old is not None:
            async with self.place.reading(self.wanted.path) as opened:
                before = b"".join([piece async for piece in opened.pieces()])
        return await asyncio.to_thread(diff.unified, before, new, self.wanted.path)

    def _output(
        self, old: Entry | None, attributes: Attributes, sha256: str, size: int, **more: Any
    ) -> dict[str, Any]:
        wanted = self.wanted
        owner = {"uid": attributes.uid, "gid": attributes.gid}
        return {
            "path": wanted.path,
            "bytes": size,
            # From the hash of a short secret it could be guessed.
            **({} if self.invocation.secrets else {"sha256": sha256}),
            "mode": f"{attributes.mode or 0:04o}",
            **{name: value for name, value in owner.items() if value is not None},
            "created": old is None,
            "dry_run": wanted.dry_run,
            **more,
        }

    def _fail(self, error_class: str, message: str) -> Unusable:
        return Unusable(fail(self.invocation, error_class, message))


_KINDS = {"folder": "folder", "link": "symbolic link", "other": "device, pipe or socket"}


def _attributes(wanted: Wanted, old: Entry | None, uid: int | None, gid: int | None) -> Attributes:
    """Those that the plan states, else those of the file that is replaced."""
    if old is None:
        return Attributes(0o600 if wanted.mode is None else wanted.mode, uid, gid)
    return Attributes(
        old.mode & PERMISSIONS if wanted.mode is None else wanted.mode,
        old.uid if uid is None else uid,
        old.gid if gid is None else gid,
    )


def _backup_of(path: str) -> str:
    return f"{path}.{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.bak"
