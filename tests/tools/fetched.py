"""Servers and programs that Debian lacks, fetched once by Maven or npm and kept for later."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.tools import built

_FETCH_SECONDS = 400


def jars(group: str, artifact: str, version: str) -> list[Path]:
    """The jar files of this artifact and of all that it needs."""
    _needed("java", "mvn")
    needed = f"<groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
    pom = (
        "<project><modelVersion>4.0.0</modelVersion><groupId>tests.invalid</groupId>"
        "<artifactId>tests</artifactId><version>1</version><dependencies><dependency>"
        f"{needed}<version>{version}</version></dependency></dependencies></project>"
    )

    def fetch(into: Path) -> None:
        (into / "pom.xml").write_text(pom, encoding="utf-8")
        argv = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"]
        _run([*argv, f"-DoutputDirectory={into}"], into)

    return sorted(_kept(f"{artifact}-{version}", fetch).glob("*.jar"))


def npm(package: str, version: str) -> Path:
    """The folder of the programs of this npm package; install scripts of packages are not run."""
    _needed("node", "npm")

    def fetch(into: Path) -> None:
        flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
        _run(["npm", "install", *flags, f"--prefix={into}", f"{package}@{version}"], into)

    return _kept(f"{package}-{version}", fetch) / "node_modules" / ".bin"


class _Unfetched(Exception):
    """What the program that fetches said last."""


def _needed(*programs: str) -> None:
    for name in programs:
        if shutil.which(name) is None:
            pytest.skip(f"program {name} is not installed: something is fetched by it")


def _kept(name: str, fetch: Callable[[Path], None]) -> Path:
    """The folder of that name; made where it is not there, by one process, and whole or not."""
    folder = built.folder().parent / "fetched"
    folder.mkdir(parents=True, exist_ok=True)
    home = folder / name
    with (folder / f".{name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.is_dir():
            with tempfile.TemporaryDirectory(dir=folder) as half:
                whole = Path(half) / name
                whole.mkdir()
                try:
                    fetch(whole)
                except _Unfetched as error:
                    if not os.environ.get("CI"):
                        pytest.skip(f"{name} cannot be fetched: {error}")
                    raise
                whole.rename(home)
    return home


def _run(argv: Sequence[str], folder: Path) -> None:
    done = subprocess.run(
        argv, cwd=folder, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False
    )
    if done.returncode != 0:
        raise _Unfetched(f"{done.stdout[-500:]}{done.stderr[-500:]}")
