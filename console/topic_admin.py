"""Applying the registry to a cluster's topics: create and adjust, never delete."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import sleep
from typing import TYPE_CHECKING, Any, Final

from console import broker
from console.exits import Exit, Failure
from runtime.clock import monotonic
from runtime.kafka import clients
from streams.topics import Topic, all_topics

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

    from runtime.settings import CommonSettings

MAX_REPLICAS: Final = 3
#: How long brokers may take to agree about a change.
SETTLE_SECONDS: Final = 10.0
_TIMEOUT: Final = 30.0


@dataclass(slots=True)
class TopicState:
    """One topic: its declaration in the registry and its state on the broker."""

    topic: Topic
    name: str
    #: Partitions on the broker; None where the topic does not exist.
    partitions: int | None
    #: Setting → (wanted, actual), for those that differ.
    differences: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def problem(self) -> str | None:
        """The difference that this command cannot remove."""
        if self.partitions is None or self.partitions == self.topic.partitions:
            return None
        return (
            f"{self.name} has {self.partitions} partitions, the registry says "
            f"{self.topic.partitions}: keys would go to the wrong partition"
        )


def inspect(settings: CommonSettings) -> list[TopicState]:
    """Compare every topic of the registry with the cluster; changes nothing."""
    cluster = broker.probe(settings)
    states: list[TopicState] = []
    for topic in all_topics():
        name = clients.topic_name(settings, topic)
        found = cluster.topics.get(name)
        exists = found is not None and found.error is None
        states.append(TopicState(topic, name, len(found.partitions) if found and exists else None))
    present = [state for state in states if state.partitions is not None]
    actual = _configs(broker.admin(settings), [state.name for state in present])
    for state in present:
        for key, wanted in state.topic.config().items():
            got = actual[state.name].get(key, "")
            if _normal(got) != _normal(wanted):
                state.differences[key] = (wanted, got)
    return states


def _normal(value: str) -> list[str]:
    """`compact,delete` and `delete, compact` mean the same."""
    return sorted(part.strip() for part in value.split(","))


def _configs(admin: AdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]

    if not names:
        return {}
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    answers = admin.describe_configs(resources, request_timeout=_TIMEOUT)
    return {
        resource.name: {name: str(entry.value) for name, entry in _result(future).items()}
        for resource, future in answers.items()
    }


def _result(future: Any) -> Any:
    from confluent_kafka import KafkaException

    try:
        return future.result(timeout=_TIMEOUT + 5)
    except (KafkaException, TimeoutError) as error:
        words = error.args[0].str() if isinstance(error, KafkaException) else "no answer"
        raise Failure(f"the broker refused: {words}", Exit.UNREACHABLE) from None


def create(settings: CommonSettings, missing: list[TopicState]) -> None:
    """Create what is missing; one that another process creates meanwhile is no error."""
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

    if not missing:
        return
    replicas = min(MAX_REPLICAS, len(broker.probe(settings).brokers))
    new = [
        NewTopic(
            state.name,
            num_partitions=state.topic.partitions,
            replication_factor=replicas,
            config=state.topic.config(),
        )
        for state in missing
    ]
    # The client is kept until the responses: a destroyed one cancels its requests.
    admin = broker.admin(settings)
    answers = admin.create_topics(new, operation_timeout=_TIMEOUT, request_timeout=_TIMEOUT)
    for name, future in answers.items():
        try:
            future.result(timeout=_TIMEOUT + 5)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                words = error.args[0].str()
                raise Failure(f"{name} was not created: {words}", Exit.FAILED) from None


def adjust(settings: CommonSettings, differing: list[TopicState]) -> None:
    """Set the settings that differ, and no others."""
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource  # type: ignore[attr-defined]

    if not differing:
        return
    resources = [
        ConfigResource(
            ConfigResource.Type.TOPIC,
            state.name,
            incremental_configs=[
                ConfigEntry(key, wanted, incremental_operation=AlterConfigOpType.SET)
                for key, (wanted, _) in state.differences.items()
            ],
        )
        for state in differing
    ]
    admin = broker.admin(settings)
    answers = admin.incremental_alter_configs(resources, request_timeout=_TIMEOUT)
    for future in answers.values():
        _result(future)


def settle(settings: CommonSettings) -> list[TopicState]:
    """Wait until the brokers know the changes, so that clients that start next find them.

    Raises Failure where something is still missing or different after SETTLE_SECONDS.
    """
    until = monotonic() + SETTLE_SECONDS
    while True:
        states = inspect(settings)
        open_ones = [
            state.name for state in states if state.partitions is None or state.differences
        ]
        if not open_ones:
            return states
        if monotonic() > until:
            raise Failure(
                f"{open_ones[0]} is not as declared after {SETTLE_SECONDS:.0f} s",
                Exit.TIMED_OUT,
                "runstream topics show",
            )
        sleep(0.1)
