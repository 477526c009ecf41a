"""Where the tests' Kafka and Postgres come from.

Named ones where the environment names them, containers where a container engine answers, the
embedded ones elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from pathlib import Path

from devstack.jars import KAFKA_VERSION
from devstack.kafka_config import ONE_NODE
from devstack.ports import free_port

POSTGRES_IMAGE = "postgres:17"
KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"
_CONTROLLER_PORT = 9093
#: Pulling the image included.
_START_SECONDS = 300
_ENGINE_SECONDS = 3
_ENGINE_SOCKET = Path("/var/run/docker.sock")


class Source(StrEnum):
    """Who runs a server of the tests."""

    GIVEN = "given"
    CONTAINER = "container"
    EMBEDDED = "embedded"


def choose(given: str | None, engine_answers: bool) -> Source:
    """Who runs a server: `given` is its address in the environment, if it has one there."""
    if given:
        return Source.GIVEN
    return Source.CONTAINER if engine_answers else Source.EMBEDDED


@cache
def engine_answers() -> bool:
    """Whether a container engine of this machine answers now."""
    import docker
    from docker.errors import DockerException

    if "DOCKER_HOST" not in os.environ and not _ENGINE_SOCKET.is_socket():
        # The client would leave the socket open with which it did not reach this one.
        return False
    try:
        client = docker.from_env(timeout=_ENGINE_SECONDS)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except (DockerException, OSError):
        return False


def broker_environment(port: int) -> dict[str, str]:
    """The variables of the broker's image: the settings of the embedded one, reached at `port`.

    The port is the same inside and outside, since a client goes on to the address that the broker
    itself names.
    """
    settings = {
        **ONE_NODE,
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@localhost:{_CONTROLLER_PORT}",
        "listeners": f"PLAINTEXT://:{port},CONTROLLER://:{_CONTROLLER_PORT}",
        "advertised.listeners": f"PLAINTEXT://localhost:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    }
    return {
        f"KAFKA_{name.upper().replace('.', '_')}": str(value)
        for name, value in settings.items()
        # The image leaves a variable without a value out of the file, which is the default.
        if value != ""
    }


@contextmanager
def kafka_container() -> Iterator[str]:
    """A broker in a container, for as long as the block lasts: its bootstrap servers."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    port = free_port()
    started = LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(_START_SECONDS)
    container = DockerContainer(KAFKA_IMAGE).with_bind_ports(port, port)
    with container.with_envs(**broker_environment(port)).waiting_for(started):
        yield f"localhost:{port}"


@contextmanager
def postgres_container() -> Iterator[str]:
    """A database in a container, for as long as the block lasts: the URL of its administrator."""
    from testcontainers.community.postgres import PostgresContainer

    with PostgresContainer(POSTGRES_IMAGE, driver=None) as container:
        yield container.get_connection_url()
