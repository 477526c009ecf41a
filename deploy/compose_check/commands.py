"""Start a program, wait for it for a bounded time, and say what it said where it failed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

_LINES = 25


class CheckFailed(Exception):
    """What did not work, as text for a person."""


def run(
    *argv: str | Path,
    seconds: float = 120,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    given: str = "",
) -> str:
    """What the program wrote to stdout; raises CheckFailed with its last lines where it failed.

    Without `environment` it gets that of this process.
    """
    words = [str(word) for word in argv]
    shown = " ".join(words[:6])
    try:
        ended = subprocess.run(
            words,
            env=environment,
            cwd=folder,
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"{shown} … took longer than {seconds:.0f} s\n{_tail(error)}") from None
    except OSError as error:
        raise CheckFailed(f"{shown} … cannot be started: {error}") from error
    if ended.returncode != 0:
        said = (ended.stdout + ended.stderr).splitlines()[-_LINES:]
        raise CheckFailed(f"{shown} … ended with {ended.returncode}\n" + "\n".join(said))
    return ended.stdout


def _tail(error: subprocess.TimeoutExpired) -> str:
    said = b"".join(part for part in (error.stdout, error.stderr) if isinstance(part, bytes))
    return "\n".join(said.decode(errors="replace").splitlines()[-_LINES:])
