"""The members of a consumer group, as the broker knows them."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

_NOT_READY: Final = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)


def members(admin: AdminClient, group: str) -> dict[str, int]:
    """How many partitions each member of the group has; empty during a rebalance."""
    try:
        found = admin.describe_consumer_groups([group])[group].result(60)
    except KafkaException as error:
        # The group's coordinator is not ready; whoever waits for members asks again.
        if error.args[0].code() not in _NOT_READY:
            raise
        return {}
    if found.state.name != "STABLE":
        return {}
    return {member.member_id: len(member.assignment.topic_partitions) for member in found.members}


def shares(admin: AdminClient, group: str) -> list[int]:
    """How the partitions are shared out among the members; empty during a rebalance."""
    return sorted(members(admin, group).values())
