"""Removing a file, or a tree of folders that was counted before."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from drivers.context import RunContext
from drivers.errors import fail
from drivers.files.limits import MOST_DEPTH
from drivers.files.place import Entry, Place
from drivers.transfer_files import Unusable
from runtime.config_folders import plain
from toolmeta.invocation import Invocation

#: Characters of the paths of one tree, which are kept until it is gone.
_MOST_CHARACTERS: Final = 32 * 1024**2
#: Requests to a host at a time.
_AT_ONCE: Final = 32


@dataclass(slots=True)
class _Tree:
    """What is below a path, the deepest first."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    bytes: int = 0
    characters: int = 0

    @property
    def entries(self) -> int:
        return len(self.files) + len(self.folders)


@dataclass(slots=True)
class Removal:
    """One path that is to be absent."""

    invocation: Invocation
    context: RunContext
    place: Place
    path: str
    recursive: bool
    most_entries: int
    dry_run: bool

    async def done(self) -> dict[str, Any]:
        """The output of the step; raises Unusable."""
        entry = await self.place.look(self.path)
        if entry is None:
            return self._output(_Tree(), changed=False)
        tree = _Tree()
        if entry.kind == "folder":
            await self._folder(tree, self.path, 0)
        else:
            self._file(tree, self.path, entry)
        if not self.dry_run:
            await self._remove(tree)
        return self._output(tree, changed=True)

    async def _folder(self, tree: _Tree, path: str, depth: int) -> None:
        if not self.recursive:
            message = f"path: {self.path[:300]} is a folder; say `recursive: true` to remove it"
            raise self._fail("conflict", message)
        if depth == 0 and (plain(self.path) or "/").count("/") < 2:
            message = f"path: {self.path[:300]} is a folder of the root, and is not removed"
            raise self._fail("invalid_parameters", message)
        if depth > MOST_DEPTH:
            message = f"{self.path[:300]} has folders more than {MOST_DEPTH} deep"
            raise self._fail("invalid_parameters", message)
        for name, entry in await self.place.names(path):
            below = f"{path.rstrip('/')}/{name}"
            if entry.kind == "folder":
                await self._folder(tree, below, depth + 1)
            else:
                self._file(tree, below, entry)
        tree.folders.append(path)
        self._count(tree, path)

    def _file(self, tree: _Tree, path: str, entry: Entry) -> None:
        tree.files.append(path)
        tree.bytes += entry.size if entry.kind == "file" else 0
        self._count(tree, path)

    def _count(self, tree: _Tree, path: str) -> None:
        tree.characters += len(path)
        if tree.entries > self.most_entries or tree.characters > _MOST_CHARACTERS:
            message = (
                f"{self.path[:300]} has more than {self.most_entries} files and folders; nothing "
                "was removed. max_entries may say more"
            )
            raise self._fail("invalid_parameters", message)

    async def _remove(self, tree: _Tree) -> None:
        """Files first: no folder is empty before. What is new in between stays, with its folder."""
        for start in range(0, len(tree.files), _AT_ONCE):
            some = tree.files[start : start + _AT_ONCE]
            removals = (self.place.remove(path, folder=False) for path in some)
            # Each is waited for, after a failure or a cancel too: none goes on alone.
            ended = await asyncio.gather(*removals, return_exceptions=True)
            for failed in ended:
                if failed is not None:
                    raise failed
            self._report(start + len(some), tree.entries)
        for number, path in enumerate(tree.folders, len(tree.files) + 1):
            await self.place.remove(path, folder=True)
            self._report(number, tree.entries)

    def _report(self, done: int, total: int) -> None:
        self.context.report_progress(round(100.0 * done / total, 1), f"removed {done} of {total}")

    def _output(self, tree: _Tree, *, changed: bool) -> dict[str, Any]:
        return {
            "path": self.path,
            "changed": changed,
            "files": len(tree.files),
            "folders": len(tree.folders),
            "bytes": tree.bytes,
            "dry_run": self.dry_run,
        }

    def _fail(self, error_class: str, message: str) -> Unusable:
        return Unusable(fail(self.invocation, error_class, message))
