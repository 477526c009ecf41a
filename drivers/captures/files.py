"""Captures that were made elsewhere: files that a plan names, below folders of the operator.

Nothing from such a folder on may be writable for the programs of steps: so none of them replaces a
file between the look at it and the reading. All tenants of an executor may read what is there.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drivers.code_paths import misspelt, outside
from drivers.context import Failure, RunContext
from drivers.errors import fail
from toolmeta.invocation import Invocation

SETTING: Final = "RUNSTREAM_CAPTURE_FOLDERS"


@dataclass(frozen=True, slots=True)
class CaptureFile:
    """A file that was looked at; `bytes` and `sha256` are those of that moment."""

    path: str
    bytes: int
    sha256: str


def look_at(
    invocation: Invocation, context: RunContext, text: str
) -> tuple[CaptureFile, Path] | Failure:
    """The file that a plan names, or why it may not be read; blocking."""
    settings = context.resources.settings
    folders = settings.capture_folders
    reason = misspelt(text) or outside(text, folders, context.resources.step_users)
    if reason is not None:
        listed = ", ".join(folders) or "none"
        message = (
            f"file: {reason}; the operator of this executor names the folders of captures in "
            f"{SETTING} ({listed})"
        )
        return fail(invocation, "capability_missing", message)
    path = Path(os.path.realpath(text))
    if path.is_dir():
        return fail(invocation, "invalid_parameters", f"file: {text[:300]} is a folder")
    try:
        # A pipe that nobody writes to would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                return fail(invocation, "invalid_parameters", f"file: {text[:300]} is no file")
            if found.st_size > settings.capture_max_bytes:
                message = (
                    f"file: {text[:300]} has {found.st_size} bytes; this executor reads captures "
                    f"of at most {settings.capture_max_bytes} (RUNSTREAM_CAPTURE_MAX_BYTES)"
                )
                return fail(invocation, "invalid_parameters", message)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return fail(invocation, "not_found", f"file: this executor has no {text[:300]}")
    except OSError as error:
        message = f"file: {text[:300]} cannot be read: {error.strerror}"
        return fail(invocation, "capability_missing", message)
    return CaptureFile(text, found.st_size, digest), path
