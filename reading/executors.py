"""Executors: members of the groups of their domains, and the attempts that tables know of."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, get_args

from reading.cluster import Described, Member
from reading.compacted import Unavailable
from reading.models.executors import (
    Assignment,
    DomainQueue,
    ExecutorList,
    ExecutorView,
    Lane,
)
from runtime.kafka import clients
from streams.topics import DOMAINS, STEPS, TEST_DOMAIN

if TYPE_CHECKING:
    from psycopg import Connection

    from reading.cluster import Cluster
    from reading.reader import Reader
    from reading.rows import Row
    from runtime.settings import CommonSettings

LANES: Final[tuple[Lane, ...]] = get_args(Lane)

#: Executors serve every tenant; a reader is told the numbers of attempts of their own only.
_OUT: Final = """
SELECT q.topic, q.executor, q.status <> 'dispatched' AS claimed, count(*) AS number,
       extract(epoch FROM now() - min(CASE WHEN q.status = 'dispatched' THEN q.enqueued_at
                                           ELSE q.claimed_at END))::double precision AS oldest
FROM execution.execution_queue AS q WHERE {condition}
GROUP BY 1, 2, 3
"""


def executors(
    connection: Connection[Row], reader: Reader, cluster: Cluster, settings: CommonSettings
) -> ExecutorList:
    """Who serves which steps, and what waits; without Kafka only what the tables know."""
    visible = reader.sees_row_of("q")
    out = connection.execute(_OUT.format(condition=visible.sql), visible.values).fetchall()
    problem, described = None, None
    try:
        described = describe(cluster, settings)
    except Unavailable as error:
        problem = str(error)
    return ExecutorList(
        executors=_views(described, out, settings),
        queues=_queues(described, out, settings),
        as_of=datetime.now(UTC),
        broker_problem=problem,
    )


def group_of(settings: CommonSettings, domain: str, lane: str) -> str:
    """The consumer group of the executors of a domain on a lane."""
    return f"{settings.topic_prefix}runstream-executor-{domain}-{lane}"


def domains_of(settings: CommonSettings) -> list[str]:
    """The domains that plans may use."""
    return [domain for domain in DOMAINS if settings.test_tools or domain != TEST_DOMAIN]


def describe(cluster: Cluster, settings: CommonSettings) -> Described:
    """The groups of every domain and lane; raises Unavailable."""
    served = [(domain, lane) for domain in domains_of(settings) for lane in LANES]
    groups = [group_of(settings, domain, lane) for domain, lane in served]
    topics = [clients.topic_name(settings, STEPS[place]) for place in served]
    return cluster.describe(groups, topics)


def _views(
    described: Described | None, out: list[Row], settings: CommonSettings
) -> list[ExecutorView]:
    members: defaultdict[str, list[tuple[str, Lane, Member]]] = defaultdict(list)
    for domain in domains_of(settings):
        for lane in LANES:
            group = None
            if described is not None:
                group = described.groups.get(group_of(settings, domain, lane))
            for member in () if group is None else group.members:
                members[member.instance].append((domain, lane, member))
    claimed = [row for row in out if row["claimed"] and row["executor"] is not None]
    names = {*members, *(row["executor"] for row in claimed)}
    return [
        _view(name, members.get(name, []), [row for row in claimed if row["executor"] == name])
        for name in sorted(names)
    ]


def _view(name: str, member_of: list[tuple[str, Lane, Member]], claimed: list[Row]) -> ExecutorView:
    oldest = [row["oldest"] for row in claimed if row["oldest"] is not None]
    hosts = [member.host for _, _, member in member_of if member.host is not None]
    return ExecutorView(
        instance=name,
        host=hosts[0] if hosts else None,
        alive=bool(member_of),
        domains=sorted({domain for domain, _, _ in member_of}),
        assignments=[
            Assignment(
                domain=domain,
                lane=lane,
                partitions=sorted(number for _, number in member.places),
            )
            for domain, lane, member in member_of
        ],
        running=sum(row["number"] for row in claimed),
        oldest_claim_seconds=round(max(0.0, *oldest), 3) if oldest else None,
    )


def _queues(
    described: Described | None, out: list[Row], settings: CommonSettings
) -> list[DomainQueue]:
    return [
        _queue(described, domain, lane, out, settings)
        for domain in domains_of(settings)
        for lane in LANES
    ]


def _queue(
    described: Described | None, domain: str, lane: Lane, out: list[Row], settings: CommonSettings
) -> DomainQueue:
    topic = clients.topic_name(settings, STEPS[domain, lane])
    # Events name topics as the registry does, without the prefix of this cluster.
    rows = [row for row in out if row["topic"] == STEPS[domain, lane].name]
    waiting = [row for row in rows if not row["claimed"]]
    oldest = [row["oldest"] for row in waiting if row["oldest"] is not None]
    name = group_of(settings, domain, lane)
    group = None if described is None else described.groups.get(name)
    problem = None
    if group is not None and not group.members:
        problem = f"no executor serves {domain}: runstream executor --domain {domain}"
    return DomainQueue(
        domain=domain,
        lane=lane,
        topic=topic,
        executors=0 if group is None else len({member.instance for member in group.members}),
        lag=None if described is None else described.lag(name, [topic]),
        queued=sum(row["number"] for row in waiting),
        running=sum(row["number"] for row in rows if row["claimed"]),
        oldest_queued_seconds=round(max(0.0, *oldest), 3) if oldest else None,
        problem=problem,
    )
