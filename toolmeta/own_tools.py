"""Tools of the operator's own: definitions in folders, read again when a file of them changes.

`<folder>/<domain>/<tool>.yaml`, as in the catalogue; a script that a definition names stands beside
it, and its text becomes a part of the definition. A definition says what an executor starts, so a
folder counts only while nobody but its owner can write to it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from streams.topics import DOMAINS, TEST_DOMAIN
from toolmeta.definitions import CatalogueError, Definition, as_json

#: The environment variable that names the folders, separated as in PATH.
SETTING: Final = "RUNSTREAM_TOOLS_PATH"
#: What every process that watches the folders logs, with `version`, and with `why` and `kept`.
READ: Final = "own tools read"
NOT_READ: Final = "own tools not read"
MAX_TOOLS: Final = 500
MAX_BYTES: Final = 256 * 1024
#: Domains that tools of one's own may have.
OWN_DOMAINS: Final = frozenset(DOMAINS) - {TEST_DOMAIN}
#: Endings of what is read: definitions, and the scripts beside them.
_DEFINITION: Final = ".yaml"
_SCRIPTS: Final = frozenset({".sh", ".bash", ".py", ".ps1"})

#: What changes with the folders: each file with its inode, time, size and mode.
Stamp = tuple[tuple[str, int, int, int, int], ...]


def folders_of(path: str | None) -> tuple[Path, ...]:
    """The folders of the setting, each once; raises `CatalogueError` where one is not absolute."""
    words = [word.strip() for word in (path or "").split(os.pathsep)]
    found = tuple(dict.fromkeys(Path(word) for word in words if word))
    for folder in found:
        if not folder.is_absolute():
            # Each process has a current folder of its own.
            message = f"{SETTING}: {folder} is no absolute folder; write $PWD/{folder}"
            raise CatalogueError(message)
    return found


class OwnTools:
    """The definitions of some folders."""

    def __init__(self, *folders: Path) -> None:
        """Nothing is read yet; no folder need be there."""
        self.folders: Sequence[Path] = folders

    def stamp(self) -> Stamp:
        """Equal as long as nothing has changed; without the folders that cannot be read."""
        return tuple(entry for folder in self.folders for entry in _stamp(folder))

    def read(self) -> list[Definition]:
        """Every definition; raises `CatalogueError` that names the file and the fault."""
        try:
            return [read_file(path) for path in self.files()]
        except OSError as error:
            raise CatalogueError(f"{SETTING}: {error.filename}: {error.strerror}") from error

    def files(self) -> list[Path]:
        """The files of the definitions; raises `CatalogueError` where they are too many."""
        files = [path for folder in self.folders for path in sorted(folder.glob("*/*.yaml"))]
        if len(files) > MAX_TOOLS:
            raise CatalogueError(f"{SETTING}: {len(files)} definitions; {MAX_TOOLS} are allowed")
        return files


def read_file(path: Path) -> Definition:
    """The definition of one file `<domain>/<tool>.yaml`; raises `CatalogueError` and OSError."""
    domain, name = path.parent.name, path.stem
    if domain not in OWN_DOMAINS:
        listed = ", ".join(sorted(OWN_DOMAINS))
        raise CatalogueError(f"{path}: the folder {domain} is no domain: {listed}")
    for folder in (path.parent, path.parent.parent):
        _guard(path, folder)
    text = _text(path, path)
    converted = as_json(text, domain, name, str(path))
    return Definition(domain, name, _with_script(converted, path), str(path))


def _stamp(folder: Path) -> Iterator[tuple[str, int, int, int, int]]:
    try:
        wanted = {_DEFINITION, *_SCRIPTS}
        files = sorted(path for path in folder.glob("*/*") if path.suffix in wanted)
        found = [(path, path.stat()) for path in (folder, *files[: 4 * MAX_TOOLS])]
    except OSError:
        return
    for path, its in found:
        yield str(path), its.st_ino, its.st_mtime_ns, its.st_size, its.st_mode


def _guard(path: Path, place: Path) -> None:
    if place.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CatalogueError(f"{path}: others can write {place}; take that away: chmod go-w")


def _text(path: Path, file: Path) -> str:
    """The text of a file that belongs to the definition `path`."""
    _guard(path, file)
    with file.open("rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise CatalogueError(f"{path}: {file.name} has more than {MAX_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise CatalogueError(f"{path}: {file.name} is not UTF-8") from None


def _with_script(text: str, path: Path) -> str:
    """The definition with the text of the script that it names by its file."""
    data: Any = json.loads(text)
    run = data.get("run") if isinstance(data, dict) else None
    script = run.get("script") if isinstance(run, dict) else None
    name = script.get("file") if isinstance(script, dict) else None
    if not isinstance(script, dict) or not isinstance(name, str):
        return text
    if "text" in script:
        raise CatalogueError(f"{path}: run.script: give file or text, not both")
    if "/" in name or name.startswith("."):
        raise CatalogueError(f"{path}: run.script.file: the name of a file beside the definition")
    file = path.with_name(name)
    if not file.is_file():
        raise CatalogueError(f"{path}: run.script.file: there is no {name} beside the definition")
    script["text"] = _text(path, file)
    return json.dumps(data)
