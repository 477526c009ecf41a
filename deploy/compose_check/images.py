"""The images of compose.yaml: from their registry, or made here of Debian packages and jars.

What is made here has the name that compose.yaml asks for and behaves as the original does at the
points that compose.yaml uses: variables, folders, user. `STANDS_FOR` says what is inside.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.compose_check import bases
from deploy.compose_check.engine import Engine
from devstack.jars import KAFKA_VERSION, LockedJar, ensure_jars

ROOT: Final = Path(__file__).parents[2]
_CONTAINERS: Final = Path(__file__).with_name("containers")
_BUILD_SECONDS: Final = 600.0


@dataclass(frozen=True)
class StandIn:
    """An image that is made here: its folder in `containers/`, and what it is."""

    folder: str
    what: str


#: By the image of compose.yaml.
STANDS_FOR: Final = {
    "apache/kafka:4.2.0": StandIn(
        "kafka", f"Apache Kafka {KAFKA_VERSION} of its own jars, with its container start-up"
    ),
    "postgres:17": StandIn("postgres", "PostgreSQL 15 of Debian, not 17"),
    "prom/prometheus:v3.5.0": StandIn("prometheus", "Prometheus of Debian, not 3.5"),
}
#: They are no package of a registry that is of use here: only their own image has them.
ONLY_THEIR_OWN: Final = ("kafbat/kafka-ui:v1.5.0", "grafana/grafana:12.2.0")
#: The programs in bin/ of Kafka, which a broker does without; its image has them.
_TOOLS: Final = LockedJar(
    f"org.apache.kafka:kafka-tools:{KAFKA_VERSION}",
    "6b88f3f0799c585b5121d9f710e448cd365d4cfd55ff3ab5d2d81f52ae59030d",
)
_PYTHON: Final = "docker.io/library/python:3.11-slim-bookworm"


def qualified(image: str) -> str:
    """The whole name of an image of Docker's registry."""
    return f"docker.io/library/{image}" if "/" not in image else f"docker.io/{image}"


def make_all(engine: Engine) -> None:
    """Make every image that compose.yaml needs and that can be made here."""
    if not engine.has(bases.IMAGE):
        bases.make(engine)
    if not engine.has(_PYTHON):
        _build(engine, _CONTAINERS / "python", _PYTHON)
    for name, made in STANDS_FOR.items():
        if not engine.has(qualified(name)):
            folder = engine.folder / "contexts" / made.folder
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(_CONTAINERS / made.folder, folder)
            if made.folder == "kafka":
                (folder / "libs").mkdir()
                for jar in ensure_jars(print, (_TOOLS,)):
                    shutil.copy(jar, folder / "libs")
            _build(engine, folder, qualified(name))


def pull_all(engine: Engine, images: list[str]) -> None:
    """Fetch these and the Dockerfile's own base from their registry."""
    for image in (*map(qualified, images), _PYTHON):
        engine.podman("pull", "--quiet", image, seconds=_BUILD_SECONDS)


def build_runstream(engine: Engine, target: str) -> None:
    """The Dockerfile of this repository, as it is."""
    _build(engine, ROOT, qualified(f"runstream:{target}"), "--layers", f"--target={target}")


def _build(engine: Engine, context: Path, name: str, *options: str) -> None:
    # `Containerfile` of a folder here, `Dockerfile` of the repository.
    engine.podman(
        *("build", "--pull=never", *bases.registry_access(engine.folder), *options),
        *(f"--tag={name}", context),
        seconds=_BUILD_SECONDS,
    )
