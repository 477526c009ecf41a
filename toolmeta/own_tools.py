"""Tools of the operator's own: definitions in a folder, read again when a file of it changes.

`<folder>/<domain>/<tool>.yaml`, as in the catalogue. A definition says what an executor starts, so
the folder counts only while nobody but its owner can write to it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from streams.topics import DOMAINS, TEST_DOMAIN
from toolmeta.definitions import CatalogueError, Definition, as_json

#: The environment variable that names the folder.
SETTING: Final = "RUNSTREAM_TOOLS"
#: What every process that watches the folder logs, with `version`, and with `why` and `kept`.
READ: Final = "own tools read"
NOT_READ: Final = "own tools not read"
MAX_TOOLS: Final = 500
MAX_BYTES: Final = 256 * 1024
_DOMAINS: Final = frozenset(DOMAINS) - {TEST_DOMAIN}

#: What changes with the folder: each file with its inode, time, size and mode.
Stamp = tuple[tuple[str, int, int, int, int], ...]


class OwnTools:
    """The definitions of one folder."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read yet; the folder need not be there."""
        self.folder = folder

    def stamp(self) -> Stamp:
        """Equal as long as nothing has changed; empty where the folder cannot be read."""
        try:
            return tuple(self._stamps())
        except OSError:
            return ()

    def read(self) -> list[Definition]:
        """Every definition; raises `CatalogueError` that names the file and the fault."""
        try:
            return [self._read(path) for path in self._files()]
        except OSError as error:
            raise CatalogueError(f"{SETTING}: {error.filename}: {error.strerror}") from error

    def _stamps(self) -> Iterator[tuple[str, int, int, int, int]]:
        for path in (self.folder, *self._files()):
            found = path.stat()
            yield str(path), found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode

    def _files(self) -> list[Path]:
        files = sorted(self.folder.glob("*/*.yaml"))
        if len(files) > MAX_TOOLS:
            raise CatalogueError(f"{SETTING}: {len(files)} definitions; {MAX_TOOLS} are allowed")
        return files

    def _read(self, path: Path) -> Definition:
        domain, name = path.parent.name, path.stem
        where = f"{SETTING}: {domain}/{path.name}"
        if domain not in _DOMAINS:
            raise CatalogueError(f"{where}: {domain} is no domain: {', '.join(sorted(_DOMAINS))}")
        for one in (path, path.parent, self.folder):
            if one.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise CatalogueError(f"{where}: others can write {one}; take that away: chmod go-w")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise CatalogueError(f"{where}: it has more than {MAX_BYTES} bytes")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise CatalogueError(f"{where}: it is not UTF-8") from None
        return Definition(domain, name, as_json(text, domain, name))
