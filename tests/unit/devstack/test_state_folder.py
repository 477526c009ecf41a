"""The files of a stack: nobody else can hold what its processes need."""

from __future__ import annotations

import os
from pathlib import Path

from devstack.state import StateFolder


def test_only_its_owner_can_hold_the_lock_of_the_supervisor(tmp_path: Path) -> None:
    """Whoever may open a file, if only to read it, may lock it."""
    folder = StateFolder(tmp_path / "state")
    folder.make()
    folder.lock.touch(mode=0o644)
    folder.lock.chmod(0o644)
    before = os.umask(0)
    try:
        with folder.open_lock() as lock:
            assert lock.fileno() >= 0
        assert folder.lock.stat().st_mode & 0o777 == 0o600
        folder.lock.unlink()
        folder.open_lock().close()
        assert folder.lock.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)
