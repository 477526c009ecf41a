"""Health: whether the parts of the system answer, as far as a process beside them can know."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from reading.compacted import Unavailable
from reading.executors import LANES, describe, domains_of, group_of
from reading.models.health import ComponentHealth, HealthStatus, SystemHealth
from runtime.kafka import clients
from streams.topics import EVENTS, OUTPUT, STEPS

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from psycopg import Connection

    from reading.cluster import Cluster, Place
    from reading.reader import Reader
    from reading.rows import Row
    from runtime.settings import CommonSettings

#: A delay beyond this makes a part degraded.
SLOW_SECONDS: Final = 10.0
_PROJECTOR: Final = "runstream-projector"
#: Without these no execution goes on; the others show less, or nothing, meanwhile.
_NEEDED: Final = frozenset({"kafka"})
_ORDER: Final[tuple[HealthStatus, ...]] = ("healthy", "unknown", "degraded", "unhealthy")
#: What the attempts of the communication tools came to in the last hour.
_MESSAGES: Final = """
SELECT tool, count(*) AS number, count(*) FILTER (WHERE status = 'succeeded') AS succeeded,
       max(completed_at) AS last_at
FROM execution.attempts AS a
WHERE domain = 'communication' AND completed_at > now() - interval '1 hour' AND {condition}
GROUP BY 1 ORDER BY 1
"""
_OFFSETS: Final = "SELECT topic, partition, next_offset FROM execution.sink_offsets"


def health(
    connect: Callable[[], AbstractContextManager[Connection[Row]]],
    broken: tuple[type[Exception], ...],
    reader: Reader,
    cluster: Cluster,
    settings: CommonSettings,
    version: str,
) -> SystemHealth:
    """Every part; `broken` are the errors with which `connect` and queries say that all is lost."""
    rows: dict[str, list[Row]] = {}
    visible = reader.sees_row_of("a")
    messages = _MESSAGES.format(condition=visible.sql)
    try:
        began = perf_counter()
        with connect() as connection:
            rows["offsets"] = connection.execute(_OFFSETS).fetchall()
            rows["messages"] = connection.execute(messages, visible.values).fetchall()
        taken = round(perf_counter() - began, 4)
        postgres = _told("postgres", "healthy", "it answers", query_seconds=taken)
    except broken:
        postgres = _told(
            "postgres", "unhealthy", "it does not answer (DATABASE_URL); executions go on, and "
            "what happened is on Kafka"
        )  # fmt: skip
    components = [
        _kafka(cluster),
        postgres,
        _sink(cluster, settings, rows.get("offsets")),
        _projector(cluster, settings),
        *_executors(cluster, settings),
        *_messages(rows.get("messages")),
    ]
    return SystemHealth(
        status=_overall(components), version=version, at=datetime.now(UTC), components=components
    )


def _overall(components: list[ComponentHealth]) -> HealthStatus:
    """The worst of what executions need; what else is wrong makes the whole degraded."""
    needed = [one.status for one in components if one.name in _NEEDED]
    worst: HealthStatus = max(needed, key=_ORDER.index)
    others = any(one.status in ("degraded", "unhealthy") for one in components)
    return "degraded" if others and worst == "healthy" else worst


def _told(name: str, status: HealthStatus, message: str, **figures: float) -> ComponentHealth:
    return ComponentHealth(name=name, status=status, message=message, figures=figures)


def _kafka(cluster: Cluster) -> ComponentHealth:
    try:
        return _told("kafka", "healthy", "it answers", brokers=cluster.brokers())
    except Unavailable as error:
        return _told("kafka", "unhealthy", str(error))


def _sink(cluster: Cluster, settings: CommonSettings, offsets: list[Row] | None) -> ComponentHealth:
    """How long what it has not written yet has been waiting."""
    if offsets is None:
        return _told("sink", "unknown", "the tables that say how far it is cannot be read")
    names = [clients.topic_name(settings, topic) for topic in (EVENTS, OUTPUT)]
    stored = {(row["topic"], row["partition"]): int(row["next_offset"]) for row in offsets}

    def nexts() -> dict[Place, int]:
        described = cluster.describe([], names)
        return {
            place: stored.get(place, 0)
            for place, end in described.ends.items()
            if stored.get(place, 0) < end
        }

    return _delay("sink", cluster, nexts, "is a sink running (runstream sink)?")


def _projector(cluster: Cluster, settings: CommonSettings) -> ComponentHealth:
    group = settings.topic_prefix + _PROJECTOR
    topic = clients.topic_name(settings, EVENTS)
    try:
        found = cluster.describe([group], [topic])
    except Unavailable as error:
        return _told("projector", "unknown", str(error))
    known = found.groups.get(group)
    if known is None or not known.members:
        return _told(
            "projector", "unhealthy", "none is running (runstream projector); progress stands still"
        )  # fmt: skip

    def nexts() -> dict[Place, int]:
        # Faust may leave out the last record in what it commits, though it was published.
        taken = {place: offset + 1 for place, offset in known.committed.items()}
        return {
            place: taken.get(place, 0)
            for place, end in found.ends.items()
            if taken.get(place, 0) < end
        }

    return _delay("projector", cluster, nexts, "is it overloaded or stuck?", len(known.members))


def _delay(
    name: str, cluster: Cluster, nexts: Callable[[], dict[Place, int]], ask: str, members: int = 0
) -> ComponentHealth:
    try:
        waiting = cluster.oldest(name, nexts())
    except Unavailable as error:
        return _told(name, "unknown", str(error))
    now = datetime.now(UTC)
    delay = max(((now - at).total_seconds() for at in waiting.values()), default=0.0)
    figures = {"delay_seconds": round(max(0.0, delay), 3), "partitions_behind": len(waiting)}
    if members:
        figures["members"] = members
    if delay > SLOW_SECONDS:
        return _told(name, "degraded", f"it is {delay:.0f} s behind: {ask}", **figures)
    return _told(name, "healthy", "it keeps up", **figures)


def _executors(cluster: Cluster, settings: CommonSettings) -> list[ComponentHealth]:
    domains = domains_of(settings)
    try:
        found = describe(cluster, settings)
    except Unavailable as error:
        return [_told(f"executors/{domain}", "unknown", str(error)) for domain in domains]
    told = []
    for domain in domains:
        groups = [found.groups.get(group_of(settings, domain, lane)) for lane in LANES]
        members = {member.instance for group in groups if group for member in group.members}
        lag = sum(
            found.lag(
                group_of(settings, domain, lane),
                [clients.topic_name(settings, STEPS[domain, lane])],
            )
            or 0
            for lane in LANES
        )
        figures: dict[str, float] = {"members": len(members), "lag": lag}
        if members:
            told.append(_told(f"executors/{domain}", "healthy", "steps are served", **figures))
        else:
            remedy = f"nobody serves its steps: runstream executor --domain {domain}"
            told.append(_told(f"executors/{domain}", "unhealthy", remedy, **figures))
    return told


def _messages(rows: list[Row] | None) -> list[ComponentHealth]:
    """What was sent is all that is known of mail servers and webhooks: nothing is sent to ask."""
    if rows is None:
        return [_told("communication", "unknown", "what was sent cannot be read")]
    if not rows:
        return [_told("communication", "unknown", "no message was sent in the last hour")]
    return [_service(row) for row in rows]


def _service(row: dict[str, Any]) -> ComponentHealth:
    number, succeeded = row["number"], row["succeeded"]
    status: HealthStatus = "healthy"
    if succeeded == 0:
        status = "unhealthy"
    elif succeeded < number:
        status = "degraded"
    return _told(
        f"communication/{row['tool']}",
        status,
        f"{succeeded} of {number} messages of the last hour were taken",
        attempts=number,
        succeeded=succeeded,
    )
