"""Converted files: a cache of the JSON of YAML files, by their content.

Reading the YAML of the catalogue takes half a second of CPU, its JSON a hundredth. A file whose
content changed is converted again, so what is stored here is never stale.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

_LARGEST_BYTES: Final = 16 * 1024 * 1024


class ConvertedFiles:
    """The JSON texts of files by the SHA-256 of their content, kept in one file."""

    def __init__(self, path: Path) -> None:
        """Reads `path`; one that is absent, unreadable or malformed counts as empty."""
        self._path = path
        self._before = _read(path)
        self._now: dict[str, str] = {}

    def get(self, content: bytes, convert: Callable[[str], str]) -> str:
        """The JSON of a file; `convert` is called where it is not known yet, and may raise."""
        key = hashlib.sha256(content).hexdigest()
        found = self._before.get(key)
        if found is None:
            found = convert(content.decode("utf-8"))
        self._now[key] = found
        return found

    def save(self) -> None:
        """Write what `get` has returned, and nothing else.

        Does nothing where nothing changed, or where Python writes no compiled modules; a folder
        that cannot be written to is no error.
        """
        if self._now == self._before or sys.dont_write_bytecode:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(exist_ok=True)
            # Written to another file and renamed: readers get the old file or the whole new one.
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(json.dumps(self._now).encode())
                Path(name).chmod(0o644)
                Path(name).replace(self._path)
            except OSError:
                Path(name).unlink()
                raise


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_LARGEST_BYTES))
    except (OSError, ValueError):
        return {}
    if isinstance(found, dict) and all(isinstance(text, str) for text in found.values()):
        return found
    return {}
