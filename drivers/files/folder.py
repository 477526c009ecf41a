"""Having a folder: with its mode and owner, and those that it is in where the plan wants them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from drivers.errors import fail
from drivers.files.place import Attributes, Entry, Place, parent_of
from drivers.transfer_files import Unusable
from runtime.config_folders import plain
from toolmeta.invocation import Invocation

_USUAL: Final = 0o755


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder that is to be there."""

    invocation: Invocation
    place: Place
    path: str
    mode: int | None
    owner: str | None
    group: str | None
    parents: bool
    dry_run: bool

    async def done(self) -> dict[str, Any]:
        """The output of the step; raises Unusable."""
        path = plain(self.path) or self.path
        uid, gid = await self.place.numbers(self.owner, self.group)
        attributes = Attributes(self.mode, uid, gid)
        missing: list[str] = []
        entry = await self.place.look(path)
        above = path
        while (found := entry if above == path else await self.place.look(above)) is None:
            missing.append(above)
            if not self.parents or above == "/" or len(missing) > path.count("/"):
                break
            above = parent_of(above)
        if found is not None and found.kind != "folder":
            message = f"path: {above[:300]} on {self.place.name} is there and no folder"
            raise self._fail("conflict", message)
        if entry is None and not self.parents and await self._above(path) is None:
            message = (
                f"path: {self.place.name} has no folder {parent_of(path)[:300]}; `parents: true` "
                "makes it too"
            )
            raise self._fail("not_found", message)
        if not self.dry_run:
            await self._make(path, missing, entry, attributes)
        changed = bool(missing) or (entry is not None and attributes.differ(entry))
        return {
            "path": self.path,
            "changed": changed,
            "created": missing[::-1],
            "dry_run": self.dry_run,
            **await self._state(path),
        }

    async def _above(self, path: str) -> Entry | None:
        return await self.place.look(parent_of(path))

    async def _make(
        self, path: str, missing: list[str], entry: Entry | None, attributes: Attributes
    ) -> None:
        for above in reversed(missing):
            own = self.mode if above == path else None
            await self.place.make_folder(above, _USUAL if own is None else own)
        if entry is None:
            # The mode is there already, and is set again where a new owner clears bits of it.
            mode = _USUAL if self.mode is None else self.mode
            attributes = replace(attributes, mode=mode)
        if entry is None or attributes.differ(entry):
            await self.place.change(path, attributes)

    async def _state(self, path: str) -> dict[str, Any]:
        if self.dry_run:
            return {}
        entry = await self.place.look(path)
        return {} if entry is None else entry.fields

    def _fail(self, error_class: str, message: str) -> Unusable:
        return Unusable(fail(self.invocation, error_class, message))
