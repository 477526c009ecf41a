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
        # A request made before the broker has its offsets topic gets no answer.
        KafkaError._TIMED_OUT,
    }
)
_REQUEST_SECONDS: Final = 3.0


def members(admin: AdminClient, group: str) -> dict[str, int]:
    """How many partitions each member of the group has; empty during a rebalance."""
    try:
        asked = admin.describe_consumer_groups([group], request_timeout=_REQUEST_SECONDS)
        found = asked[group].result(60)
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
