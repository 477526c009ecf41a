"""Starting programs from a program of the catalogue: argument lists, bounded output."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from toolmeta.programs.report import Refused

#: Bytes of the output that are kept.
KEPT_BYTES = 16 * 1024 * 1024


class Ended(NamedTuple):
    """How a program ended, and what it wrote."""

    code: int
    text: str
    #: stderr; empty where it was read together with stdout.
    errors: str = ""

    @property
    def said(self) -> str:
        """Everything that it wrote."""
        return f"{self.text}\n{self.errors}"

    def last(self, *prefixes: str) -> str:
        """The last line that is not empty; of those that begin so, where there are some."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        wanted = [line for line in lines if line.startswith(prefixes)] if prefixes else []
        return (wanted or lines or ["it said nothing"])[-1]


def required(name: str, package: str) -> str:
    """The path of a program that must be there."""
    found = shutil.which(name)
    if found is None:
        raise Refused(
            "program_missing", f"{name} is not installed on this machine (Debian: {package})"
        )
    return found


def environment(added: dict[str, str], without: str = "") -> dict[str, str]:
    """This program's own, which marks the processes of the attempt, and what is added.

    `without`: the beginning of names that are left out.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not without or not name.startswith(without)
    }
    return {**kept, **added}


def asked(
    argv: Sequence[str],
    env: dict[str, str] | None = None,
    stdin: bytes | None = None,
    folder: str | None = None,
) -> Ended:
    """Run a program that answers; its output is not shown."""
    done = subprocess.run(
        argv,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        env=env,
        cwd=folder,
        check=False,
    )
    return Ended(done.returncode, _text(done.stdout), _text(done.stderr))


def shown(
    argv: Sequence[str],
    env: dict[str, str] | None = None,
    folder: str | None = None,
) -> Ended:
    """Run a program that works: what it writes is seen at once, on stderr, and kept as text."""
    kept: list[bytes] = []
    size = 0
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=folder,
    ) as process:
        assert process.stdout is not None  # noqa: S101
        while True:
            data = os.read(process.stdout.fileno(), 65_536)
            if not data:
                break
            sys.stderr.buffer.write(data)
            sys.stderr.flush()
            kept.append(data)
            size += len(data)
            while size - len(kept[0]) > KEPT_BYTES:
                size -= len(kept.pop(0))
    return Ended(process.returncode, _text(b"".join(kept)))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
