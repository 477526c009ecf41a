"""Files for the programs of one call, which nobody else may read and which go with it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: In memory; where the executor gave no folder of its own, as over SSH.
_MEMORY = "/dev/shm"  # noqa: S108 (the folder that is made there is private)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for its user alone, removed at the end."""
    parent = os.environ.get("TMPDIR")
    if parent is None and os.access(_MEMORY, os.W_OK | os.X_OK):
        parent = _MEMORY
    with tempfile.TemporaryDirectory(prefix="rs-", dir=parent) as name:
        yield Path(name)


def put(path: Path, text: str) -> str:
    """Write a file that only its user may read; its path as text."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return str(path)


def put_json(path: Path, value: Any) -> str:
    """The same, with a value as JSON."""
    return put(path, json.dumps(value))
