"""The topic registry: every topic of the system, declared once, as data.

Topic creation, the AsyncAPI document and the topics page are generated from it, and no other
module spells a topic name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DAY_MS: Final = 86_400_000

#: Partitions of every topic that meets in the router; equal on purpose (co-partitioning).
ROUTER_PARTITIONS: Final = 8

#: The domain that serves benchmarks and fault tests: one of its tools runs any program, so it is
#: started on purpose only.
TEST_DOMAIN: Final = "test"
#: The four domains of the catalogue, and that of the tests.
DOMAINS: Final = ("automation", "communication", "asset", "network", TEST_DOMAIN)


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: who writes it, who reads it, and how the broker keeps it."""

    name: str
    key: str
    carries: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    partitions: int = ROUTER_PARTITIONS
    cleanup: str = "delete"
    retention_days: int | None = 7
    max_message_bytes: int = 2 * 1024 * 1024
    #: Whether unreadable records of this topic go to `<name>.dlq`.
    dead_letters: bool = False
    #: Whether the broker compresses it: what is large and kept for long. Gzip is what every client
    #: reads; at level 1 it leaves 5 to 19 % of the bytes. Our producers do not compress: most
    #: records go to topics that are read once and soon.
    compressed: bool = False

    @property
    def dlq(self) -> str:
        """The name of this topic's dead-letter topic."""
        return f"{self.name}.dlq"

    def config(self) -> dict[str, str]:
        """The broker-side settings of this topic, as Kafka spells them."""
        config = {
            "cleanup.policy": self.cleanup,
            # A producer with a wrong clock must not let retention delete its plans.
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(self.max_message_bytes),
        }
        if self.compressed:
            config["compression.type"] = "gzip"
            config["compression.gzip.level"] = "1"
        if self.retention_days is not None:
            config["retention.ms"] = str(self.retention_days * DAY_MS)
        if "compact" in self.cleanup:
            config["min.cleanable.dirty.ratio"] = "0.1"
            config["segment.ms"] = str(DAY_MS // 4)
        return config


REQUESTS: Final = Topic(
    "execution.requests",
    key="any; our clients use the route key",
    carries="ExecutionRequest",
    writers=("producers", "router", "cli", "api"),
    readers=("router",),
    dead_letters=True,
)
CONTROL: Final = Topic(
    "execution.control",
    key="route key",
    carries="ControlCommand",
    writers=("operators", "router", "cli", "api"),
    readers=("router",),
    dead_letters=True,
)
REPORTS: Final = Topic(
    "steps.reports",
    key="route key",
    carries="Report",
    writers=("executor",),
    readers=("router",),
    dead_letters=True,
)
EXECUTORS_CONTROL: Final = Topic(
    "executors.control",
    key="attempt id",
    carries="CancelStep",
    writers=("router",),
    readers=("executor",),
    cleanup="compact,delete",
)
EVENTS: Final = Topic(
    "execution.events",
    key="route key",
    carries="Event",
    writers=("router",),
    readers=("sink", "projector", "cli", "consumers", "api"),
    retention_days=30,
    dead_letters=True,
    compressed=True,
)
OUTPUT: Final = Topic(
    "execution.output",
    key="route key",
    carries="OutputChunk",
    writers=("executor",),
    readers=("sink", "cli", "consumers", "api"),
    dead_letters=True,
    compressed=True,
)
PROGRESS: Final = Topic(
    "execution.progress",
    key="execution id, written to the partition of its events",
    carries="ProgressSnapshot",
    writers=("projector",),
    readers=("projector", "cli", "consumers", "api"),
    cleanup="compact,delete",
    retention_days=30,
    compressed=True,
)
ROUTER_STATE: Final = Topic(
    "router.state",
    key="execution id, then `/` and the piece; written to the input's partition",
    carries="router changelog",
    writers=("router",),
    readers=("router",),
    cleanup="compact",
    retention_days=None,
)

#: One partition: every router reads all of it, and asks for its end before it decides by it.
PROCEDURES: Final = Topic(
    "execution.procedures",
    key="tenant, `/` and the name of the procedure",
    carries="ProcedureRecord",
    writers=("operators", "cli"),
    readers=("router", "cli", "api"),
    partitions=1,
    cleanup="compact",
    retention_days=None,
)
LOCK_COMMANDS: Final = Topic(
    "locks.commands",
    key="tenant",
    carries="LockCommand",
    writers=("router",),
    readers=("router",),
    dead_letters=True,
)
LOCK_GRANTS: Final = Topic(
    "locks.grants",
    key="route key",
    carries="LockAnswer",
    writers=("router",),
    readers=("router",),
    dead_letters=True,
)
LOCKS_STATE: Final = Topic(
    "locks.state",
    key="`lock/` and the execution id; written to the partition of its tenant",
    carries="lock changelog",
    writers=("router",),
    readers=("router", "cli", "api"),
    cleanup="compact",
    retention_days=None,
)
SCHEDULE_COMMANDS: Final = Topic(
    "schedules.commands",
    key="tenant, `/` and the name of the schedule",
    carries="ScheduleCommand",
    writers=("operators", "router", "cli", "api"),
    readers=("router",),
    dead_letters=True,
)
SCHEDULES_STATE: Final = Topic(
    "schedules.state",
    key="`schedule/`, then the key of its commands; written to the partition of these",
    carries="schedule changelog",
    writers=("router",),
    readers=("router", "cli", "api"),
    cleanup="compact",
    retention_days=None,
)
TRIGGER_COMMANDS: Final = Topic(
    "triggers.commands",
    key="tenant, `/` and the name of the trigger",
    carries="TriggerCommand",
    writers=("operators", "router", "matcher", "cli", "api"),
    readers=("router",),
    dead_letters=True,
)
TRIGGERS_STATE: Final = Topic(
    "triggers.state",
    key="`trigger/`, then the key of its commands; written to the partition of these",
    carries="trigger changelog",
    writers=("router",),
    readers=("router", "matcher", "cli", "api"),
    cleanup="compact",
    retention_days=None,
)
#: What webhooks brought; triggers on it start procedures.
HOOKS: Final = Topic(
    "hooks.received",
    key="name of the hook",
    carries="HookDelivery",
    writers=("api",),
    readers=("matcher",),
)


def _steps(domain: str, lane: str) -> Topic:
    return Topic(
        f"steps.{domain}" if lane == "bulk" else f"steps.{domain}.immediate",
        key="target asset, else execution id",
        carries="StepCommand",
        writers=("router",),
        readers=("executor",),
        partitions=ROUTER_PARTITIONS,
        dead_letters=True,
    )


#: One bulk topic and one immediate topic per domain, by (domain, lane).
STEPS: Final[dict[tuple[str, str], Topic]] = {
    (domain, lane): _steps(domain, lane) for domain in DOMAINS for lane in ("bulk", "immediate")
}

#: Every topic that is not a dead-letter topic, by name.
TOPICS: Final[dict[str, Topic]] = {
    topic.name: topic
    for topic in (
        REQUESTS,
        CONTROL,
        *STEPS.values(),
        REPORTS,
        EXECUTORS_CONTROL,
        EVENTS,
        OUTPUT,
        PROGRESS,
        ROUTER_STATE,
        PROCEDURES,
        LOCK_COMMANDS,
        LOCK_GRANTS,
        LOCKS_STATE,
        SCHEDULE_COMMANDS,
        SCHEDULES_STATE,
        TRIGGER_COMMANDS,
        TRIGGERS_STATE,
        HOOKS,
    )
}


def dead_letter_topic(source: Topic) -> Topic:
    """The dead-letter topic of `source`: same partitions, kept for 30 days."""
    return Topic(
        source.dlq,
        key="as the source",
        carries="the original bytes, with error headers",
        writers=(*source.readers[:1], *(("router",) if source in STEPS.values() else ())),
        readers=("operators", "cli", "sink", "api"),
        partitions=source.partitions,
        retention_days=30,
        max_message_bytes=source.max_message_bytes + 64 * 1024,
    )


#: The dead-letter topics, by the name of their source topic.
DEAD_LETTERS: Final[dict[str, Topic]] = {
    topic.name: dead_letter_topic(topic) for topic in TOPICS.values() if topic.dead_letters
}


def all_topics() -> tuple[Topic, ...]:
    """Every topic that the broker must hold, dead-letter topics included."""
    return (*TOPICS.values(), *DEAD_LETTERS.values())
