"""Node.js packages of the tests: installed once per lock file, run as programs of their own."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "node"
MINIMUM_VERSION = 18
_INSTALL_SECONDS = 300


def installed() -> Path:
    """The folder of the scripts, with its packages as the lock file names them.

    Skips the test where this machine has no npm or an older Node.js.
    """
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("no node and npm on this machine")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    major = re.match(r"v(\d+)\.", version.stdout)
    if major is None or int(major[1]) < MINIMUM_VERSION:
        pytest.skip(f"Node.js {MINIMUM_VERSION} or newer is needed, not {version.stdout.strip()}")
    wanted = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    stamp = FOLDER / "node_modules" / ".runstream-lock"
    # One process installs; the others wait for it.
    with (FOLDER / "package-lock.json").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != wanted:
            made = subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=FOLDER,
                capture_output=True,
                text=True,
                timeout=_INSTALL_SECONDS,
            )
            assert made.returncode == 0, made.stderr[-2_000:]
            stamp.write_text(wanted)
    return FOLDER
