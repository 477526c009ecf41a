"""The cluster as its brokers describe it: topics, groups, and how far their members have come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLong
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from reading.compacted import Unavailable
from runtime.clock import monotonic
from runtime.kafka import clients
from runtime.kafka.lag import MARKER

if TYPE_CHECKING:
    from runtime.settings import CommonSettings

CALL_SECONDS: Final = 4.0
#: How old what it tells may be.
MAX_AGE_SECONDS: Final = 2.0
_CLIENT: Final = "runstream-"
#: One record of each partition is wanted, not what lies behind it.
_FETCH_BYTES: Final = 16 * 1024
_BATCH: Final = 500
#: In the place of the description of a group that nobody has ever joined.
_NO_GROUP: Final = object()

T = TypeVar("T")
#: Topic (full name) and partition.
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a consumer group."""

    #: The process, as events name it.
    instance: str
    host: str | None
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """One consumer group."""

    members: tuple[Member, ...]
    #: The next offset of each partition that was ever committed.
    committed: Mapping[Place, int]


@dataclass(frozen=True, slots=True)
class Described:
    """Groups, and the ends of the topics that they read."""

    #: By name; None where the brokers do not tell it.
    groups: Mapping[str, Group | None]
    #: The end of committed records.
    ends: Mapping[Place, int]

    def lag(self, group: str, topics: Iterable[str]) -> int | None:
        """The records of these topics that the group has not taken; None where nobody knows.

        As in the metric of the same name one record behind the end counts as none: the end of a
        transaction is one.
        """
        found = self.groups.get(group)
        wanted = set(topics)
        ends = {place: end for place, end in self.ends.items() if place[0] in wanted}
        if found is None or not ends:
            return None
        left = (end - found.committed.get(place, end) for place, end in ends.items())
        return sum(number for number in left if number > MARKER)


class Cluster:
    """Asks the brokers, at most every few seconds, whoever wants to know; for any thread."""

    def __init__(self, settings: CommonSettings) -> None:
        """Nothing is opened yet."""
        self._settings = settings
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None
        self._told: dict[Any, tuple[float, Any]] = {}

    def topics(self) -> frozenset[str]:
        """The names of all topics that this process may see; raises Unavailable."""
        return self._once("topics", lambda admin: frozenset(_listed(admin).topics))

    def brokers(self) -> int:
        """How many brokers there are; raises Unavailable."""
        return self._once("brokers", _brokers)

    def describe(self, groups: Sequence[str], topics: Sequence[str]) -> Described:
        """These groups and topics, by their full names; raises Unavailable."""
        key = (tuple(groups), tuple(topics))
        return self._once(key, lambda admin: _described(admin, groups, topics))

    def oldest(self, name: str, behind: Mapping[Place, int]) -> Mapping[Place, datetime]:
        """When the first committed record from these offsets on was written; raises Unavailable.

        A partition without one is absent. `name` says whose offsets they are.
        """
        return self._once(("oldest", name), lambda _: _first_records(self._settings, behind))

    def _once(self, key: Hashable, ask: Callable[[AdminClient], T]) -> T:
        if not self._lock.acquire(timeout=2 * CALL_SECONDS):
            raise Unavailable("the Kafka brokers do not answer")
        try:
            at, told = self._told.get(key, (0.0, None))
            if told is None or monotonic() - at > MAX_AGE_SECONDS:
                try:
                    told = ask(self._open())
                except (KafkaException, TooLong) as error:
                    told = Unavailable(f"the Kafka brokers do not answer: {_sentence(error)}")
                self._told[key] = (monotonic(), told)
            if isinstance(told, Unavailable):
                raise told
            found: T = told
            return found
        finally:
            self._lock.release()

    def _open(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient(clients.common(self._settings))
        return self._admin


def _listed(admin: AdminClient) -> Any:
    return admin.list_topics(timeout=CALL_SECONDS)


def _brokers(admin: AdminClient) -> int:
    return len(_listed(admin).brokers)


def _described(admin: AdminClient, groups: Sequence[str], topics: Sequence[str]) -> Described:
    described: dict[str, Future[Any]] = {}
    if groups:
        described = admin.describe_consumer_groups([*groups], request_timeout=CALL_SECONDS)
    committed = {
        name: admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(name)], request_timeout=CALL_SECONDS
        )[name]
        for name in groups
    }
    known = _listed(admin).topics
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    wanted = {
        TopicPartition(topic, number): latest
        for topic in topics
        if topic in known
        for number in known[topic].partitions
    }
    ends: dict[Place, int] = {}
    if wanted:
        offsets = admin.list_offsets(
            wanted,
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=CALL_SECONDS,
        )
        for place, future in offsets.items():
            found = _result(future)
            if found is not None:
                ends[place.topic, place.partition] = found.offset
    return Described(
        {name: _group(_result(described[name]), _result(committed[name])) for name in groups}, ends
    )


def _result(future: Future[Any]) -> Any:
    """What one of several questions was answered with; None where this one was refused."""
    try:
        return future.result(CALL_SECONDS)
    except KafkaException as error:
        if error.args[0].retriable():
            raise
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return _NO_GROUP
        return None


def _group(described: Any, committed: Any) -> Group | None:
    if described is None:
        return None
    if described is _NO_GROUP or committed is _NO_GROUP:
        return Group((), {})
    members = tuple(
        Member(
            str(member.client_id).removeprefix(_CLIENT),
            None if member.host is None else str(member.host).lstrip("/") or None,
            tuple(
                (place.topic, place.partition)
                for place in (member.assignment.topic_partitions if member.assignment else ())
            ),
        )
        for member in described.members
    )
    offsets = {
        (place.topic, place.partition): place.offset
        for place in (committed.topic_partitions if committed is not None else ())
        if place.offset >= 0
    }
    return Group(members, offsets)


def _first_records(settings: CommonSettings, behind: Mapping[Place, int]) -> dict[Place, datetime]:
    found: dict[Place, datetime] = {}
    left = set(behind)
    if not left:
        return found
    consumer = Consumer(
        clients.reader(settings, **clients.ENDS, **{"fetch.message.max.bytes": _FETCH_BYTES})
    )
    try:
        consumer.assign([TopicPartition(*place, offset) for place, offset in behind.items()])
        until = monotonic() + CALL_SECONDS
        while left and monotonic() < until:
            for message in consumer.consume(_BATCH, 0.05):
                place = (str(message.topic()), message.partition() or 0)
                error = message.error()
                if error is None and place in left:
                    found[place] = datetime.fromtimestamp(message.timestamp()[1] / 1_000, UTC)
                elif error is not None and error.code() != KafkaError._PARTITION_EOF:
                    if not error.retriable():
                        raise KafkaException(error)
                    continue
                if place in left:
                    left.discard(place)
                    consumer.pause([TopicPartition(*place)])
    finally:
        consumer.close()
    return found


def _sentence(error: Exception) -> str:
    if isinstance(error, KafkaException):
        return str(error.args[0].str())
    return f"not within {CALL_SECONDS:g} s"
