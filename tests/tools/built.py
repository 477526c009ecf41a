"""Programs that Debian lacks: `make programs` builds them once; CI has no time for that."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def folder() -> Path:
    """Where `.ci/programs` puts them; the last folder on the PATH of the executors of the tests."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "runstream" / "programs"


def built(name: str) -> str:
    """The program's path; skips the test where it was not built."""
    found = shutil.which(name, path=f"{folder()}:{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip(f"program {name} is not there: run `make programs`")
    return found
