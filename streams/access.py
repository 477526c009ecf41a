"""What each process, and people, may do on the cluster: Kafka ACLs derived from the topic registry.

Everything that is not granted here is refused by a broker with an authorizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from streams.topics import DEAD_LETTERS, DOMAINS, STEPS, TEST_DOMAIN, Topic, all_topics

#: The words of the registry's writers and readers that stand for people and their programs.
PEOPLE_WORDS: Final = frozenset({"producers", "operators", "cli", "consumers"})
#: Consumer groups of people's own programs begin with this.
PEOPLE_GROUPS: Final = "people-"
#: In the place of a name: every resource of its kind.
ANY_NAME: Final = "*"
#: The group that clients name which read a topic without joining a group.
READERS_GROUP: Final = "runstream-readers"
#: The group of the sinks' second reader of the events.
TRACES_GROUP: Final = "runstream-traces"


class Resource(StrEnum):
    """What an ACL is about."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional-id"


class Operation(StrEnum):
    """What is allowed; Kafka adds DESCRIBE to each of READ, WRITE, DELETE and ALTER."""

    ALL = "all"
    READ = "read"
    WRITE = "write"
    DESCRIBE = "describe"


@dataclass(frozen=True, slots=True)
class Grant:
    """One ACL that allows: operations on a resource, or on all whose names begin so."""

    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    prefixed: bool = False


@dataclass(frozen=True, slots=True)
class Principal:
    """A user of the cluster and everything that it may do."""

    name: str
    grants: tuple[Grant, ...]

    def may(self, operation: Operation, topic: str) -> bool:
        """Whether it may read or write the topic of this full name."""
        return any(
            grant.resource is Resource.TOPIC
            and grant.name == topic
            and (operation in grant.operations or Operation.ALL in grant.operations)
            for grant in self.grants
        )


def router(name: str, prefix: str) -> Principal:
    """A router."""
    own = f"{prefix}runstream-router"
    return Principal(
        name,
        (
            *_topics({"router"}, all_topics(), prefix),
            Grant(Resource.GROUP, own, (Operation.READ,)),
            _transactions(f"{own}-"),
            _readers(prefix),
        ),
    )


def executor(name: str, domains: Sequence[str], prefix: str) -> Principal:
    """An executor of these domains: it reads no step of another one."""
    others = {
        one
        for (domain, _), topic in STEPS.items()
        if domain not in domains
        for one in (topic, DEAD_LETTERS[topic.name])
    }
    own = [f"{prefix}runstream-executor-{domain}-" for domain in domains]
    return Principal(
        name,
        (
            *_topics({"executor"}, (one for one in all_topics() if one not in others), prefix),
            *(Grant(Resource.GROUP, group, (Operation.READ,), prefixed=True) for group in own),
            *(_transactions(begin) for begin in own),
            _readers(prefix),
        ),
    )


def sink(name: str, prefix: str) -> Principal:
    """A sink, which also reads the events in a group of its own to make traces of them."""
    member = _member(name, "sink", prefix)
    traces = Grant(Resource.GROUP, prefix + TRACES_GROUP, (Operation.READ,))
    return Principal(name, (*member.grants, traces))


def projector(name: str, prefix: str) -> Principal:
    """A projector."""
    return _member(name, "projector", prefix)


def matcher(name: str, prefix: str, *, every_topic: bool = False) -> Principal:
    """A matcher; with `every_topic` it reads whatever a trigger names, else what it is given."""
    member = _member(name, "matcher", prefix)
    if not every_topic:
        return member
    everything = Grant(Resource.TOPIC, ANY_NAME, (Operation.READ,))
    return Principal(name, (*member.grants, everything))


def api(name: str, prefix: str) -> Principal:
    """The HTTP API: it joins no group, and sees how far those of the processes are."""
    return Principal(
        name,
        (
            *_topics({"api"}, all_topics(), prefix),
            # Their ends, which say how much nobody has claimed; never a command itself.
            *(
                Grant(Resource.TOPIC, prefix + topic.name, (Operation.DESCRIBE,))
                for topic in STEPS.values()
            ),
            _readers(prefix),
            Grant(Resource.GROUP, f"{prefix}runstream-", (Operation.DESCRIBE,), prefixed=True),
        ),
    )


def people(name: str, prefix: str) -> Principal:
    """Whoever submits plans, sends control commands, and reads what happens."""
    return Principal(
        name,
        (
            *_topics(PEOPLE_WORDS, all_topics(), prefix),
            Grant(Resource.GROUP, prefix + PEOPLE_GROUPS, (Operation.READ,), prefixed=True),
            _readers(prefix),
        ),
    )


def admin(name: str, prefix: str) -> Principal:
    """Whoever creates the topics, and drops and redrives dead letters of every topic."""
    return Principal(
        name,
        (
            *(Grant(Resource.TOPIC, prefix + one.name, (Operation.ALL,)) for one in all_topics()),
            Grant(Resource.GROUP, prefix + PEOPLE_GROUPS, (Operation.READ,), prefixed=True),
            Grant(Resource.GROUP, f"{prefix}runstream-", (Operation.DESCRIBE,), prefixed=True),
        ),
    )


def principals(prefix: str, *, test_tools: bool = False) -> tuple[Principal, ...]:
    """One per process and domain, people, and the administrator of the topics.

    The names begin with the prefix of the topics, which two systems on one cluster differ in.
    """
    domains = [domain for domain in DOMAINS if test_tools or domain != TEST_DOMAIN]
    return (
        router(f"{prefix}router", prefix),
        *(executor(f"{prefix}executor-{domain}", [domain], prefix) for domain in domains),
        sink(f"{prefix}sink", prefix),
        projector(f"{prefix}projector", prefix),
        matcher(f"{prefix}matcher", prefix),
        api(f"{prefix}api", prefix),
        people(f"{prefix}people", prefix),
        admin(f"{prefix}admin", prefix),
    )


def _topics(words: Iterable[str], topics: Iterable[Topic], prefix: str) -> list[Grant]:
    found = []
    for topic in topics:
        operations = tuple(
            operation
            for operation, names in (
                (Operation.READ, topic.readers),
                (Operation.WRITE, topic.writers),
            )
            if not set(words).isdisjoint(names)
        )
        if operations:
            found.append(Grant(Resource.TOPIC, prefix + topic.name, operations))
    return found


def _member(name: str, word: str, prefix: str) -> Principal:
    return Principal(
        name,
        (
            *_topics({word}, all_topics(), prefix),
            Grant(Resource.GROUP, f"{prefix}runstream-{word}", (Operation.READ,)),
            _readers(prefix),
        ),
    )


def _transactions(begin: str) -> Grant:
    return Grant(
        Resource.TRANSACTIONAL_ID, begin, (Operation.WRITE, Operation.DESCRIBE), prefixed=True
    )


def _readers(prefix: str) -> Grant:
    return Grant(Resource.GROUP, prefix + READERS_GROUP, (Operation.DESCRIBE,))
