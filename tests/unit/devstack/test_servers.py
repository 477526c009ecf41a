"""Which servers the tests use, and that a container would get the embedded broker's settings."""

from __future__ import annotations

import pytest

from devstack.kafka_config import ONE_NODE
from tests.servers import Source, broker_environment, choose


@pytest.mark.parametrize(
    ("given", "engine", "expected"),
    [
        ("kafka.example.org:9092", True, Source.GIVEN),
        ("kafka.example.org:9092", False, Source.GIVEN),
        (None, True, Source.CONTAINER),
        ("", True, Source.CONTAINER),
        (None, False, Source.EMBEDDED),
        ("", False, Source.EMBEDDED),
    ],
)
def test_whose_servers_the_tests_use(given: str | None, engine: bool, expected: Source) -> None:
    assert choose(given, engine) is expected


def test_a_broker_in_a_container_has_the_settings_of_the_embedded_one() -> None:
    environment = broker_environment(15_123)
    assert environment["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://localhost:15123"
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    named = {name for name, value in ONE_NODE.items() if value != ""}
    assert {f"KAFKA_{name.upper().replace('.', '_')}" for name in named} <= set(environment)
