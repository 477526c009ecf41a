"""The broker's jars: fetched once from a Maven repository, verified at every start.

`kafka.lock` lists every jar with its SHA-256, so the broker that runs is the tested one, a changed
or half-written file is fetched again, and no start has to resolve dependencies over the network.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devstack.errors import LocalStackError

if TYPE_CHECKING:
    from jgo.maven import Artifact, MavenContext

KAFKA_VERSION = "4.2.0"
#: What the lock file is made from; the binding sends the broker's log to its stderr.
ROOTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
LOCK = Path(__file__).with_name("kafka.lock")
#: Names another repository than Maven Central, for machines that reach only a mirror.
MIRROR_VARIABLE = "MAVEN_MIRROR_URL"

Report = Callable[[str], None]


@dataclass(frozen=True)
class LockedJar:
    """One line of the lock file."""

    coordinate: str
    sha256: str


def ensure_jars(report: Report, further: Sequence[LockedJar] = ()) -> list[Path]:
    """The paths of all jars and of `further` ones, downloading what is missing or damaged."""
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalStackError(f"The jar cache {cache} cannot be made: {error}.") from error
    with _only_one(cache / ".lock"):
        return _verified(cache, report, [*read_lock(), *further])


def cache_folder() -> Path:
    """Where the jars are kept, shared by every state folder of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "runstream" / "maven"


def maven_context(cache: Path) -> MavenContext:
    """How jgo reaches the repository and its cache."""
    try:
        from jgo.maven import MavenContext, PythonResolver
    except ImportError as error:
        raise LocalStackError(
            "The embedded broker needs the package jgo: pip install 'runstream[local]', "
            "or set KAFKA_BOOTSTRAP_SERVERS to use a broker of yours."
        ) from error
    mirror = os.environ.get(MIRROR_VARIABLE)
    return MavenContext(
        resolver=PythonResolver(),
        repo_cache=cache,
        remote_repos={"mirror": mirror.rstrip("/")} if mirror else None,
        timeout=60,
    )


def read_lock() -> list[LockedJar]:
    """The jars of the lock file."""
    pairs = (line.split() for line in LOCK.read_text().splitlines() if line.strip())
    return [LockedJar(coordinate=coordinate, sha256=digest) for digest, coordinate in pairs]


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verified(cache: Path, report: Report, jars: list[LockedJar]) -> list[Path]:
    context = maven_context(cache)
    artifacts = [(context.create_dependency(jar.coordinate).artifact, jar.sha256) for jar in jars]
    missing = [pair for pair in artifacts if not _intact(*pair)]
    if missing:
        report(f"fetching Apache Kafka {KAFKA_VERSION}: {len(missing)} jars into {cache}")
        with ThreadPoolExecutor(max_workers=4) as pool:
            downloads = [pool.submit(_download, *pair) for pair in missing]
            try:
                for done, download in enumerate(as_completed(downloads), start=1):
                    report(f"  downloaded {done} of {len(missing)}: {download.result()}")
            finally:
                # After one failure, or Ctrl-C, the downloads that have not begun are cancelled.
                pool.shutdown(wait=True, cancel_futures=True)
    return [_path(artifact) for artifact, _ in artifacts]


def _download(artifact: Artifact, digest: str) -> str:
    import requests

    # jgo writes straight to the final name, so what is there now is an incomplete download.
    _path(artifact).unlink(missing_ok=True)
    try:
        artifact.context.resolver.download(artifact)
    except (requests.RequestException, RuntimeError, OSError) as error:
        raise LocalStackError(
            f"{artifact.filename} cannot be fetched: {error}. Check the network, or set "
            f"{MIRROR_VARIABLE} to a Maven repository that this machine reaches."
        ) from error
    if not _intact(artifact, digest):
        raise LocalStackError(
            f"{artifact.filename} was fetched but is not the file that {LOCK.name} names."
        )
    return str(artifact.filename)


def _intact(artifact: Artifact, digest: str) -> bool:
    path = _path(artifact)
    return path.is_file() and sha256(path) == digest


def _path(artifact: Artifact) -> Path:
    return Path(artifact.context.repo_cache, artifact.component.path_prefix, artifact.filename)


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Two stacks that start at once must not write the same files."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
