"""The folders below which plans may name configurations and sockets, as a setting."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

#: Below these are devices, and files of whichever process looks.
REFUSED: Final = ("/dev", "/proc")


def plain(path: str) -> str | None:
    """An absolute path without `.`, repeated slashes and one at its end; None for any other.

    One with `..` is none: behind a symbolic link it is another place than its text says.
    """
    parts = path.split("/")
    if not path.startswith("/") or ".." in parts:
        return None
    return "/" + "/".join(part for part in parts if part not in ("", "."))


def inside(path: str, folders: Iterable[str]) -> bool:
    """Whether the path, in its plain form, is one of the folders or below it."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _folders(given: object) -> object:
    if not isinstance(given, str):
        return given
    found = []
    for word in filter(None, map(str.strip, given.split(","))):
        folder = plain(word)
        if folder is None or folder == "/" or inside(folder, REFUSED):
            raise ValueError(f"{word} is no absolute folder that may be named")
        found.append(folder)
    return tuple(found)


#: Absolute folders, comma separated.
Folders = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_folders)]
