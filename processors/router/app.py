"""The router process."""

from __future__ import annotations

import secrets
import threading
from typing import Final

from prometheus_client import Gauge

from processors.locks.partition import KeeperPartition
from processors.router import expressions
from processors.router.cel_worker import Worker
from processors.router.hosting import Hosted
from processors.router.partition import RouterPartition
from processors.router.requests import RequestHandler
from processors.router.store import StateStore
from processors.router.writing import Writer
from runtime import service
from runtime.health import Health
from runtime.kafka.dead_letters import count_from_zero
from runtime.kafka.processor import Processor
from runtime.logs import Log
from runtime.settings import RouterSettings
from streams.topics import (
    CONTROL,
    LOCK_COMMANDS,
    LOCK_GRANTS,
    LOCKS_STATE,
    REPORTS,
    REQUESTS,
    ROUTER_PARTITIONS,
    ROUTER_STATE,
)
from toolmeta import registry

_ACTIVE = Gauge("runstream_executions_active", "Executions that have not ended")
_HELD = Gauge("runstream_locks_held", "Assets that are locked")
_WANTED = Gauge("runstream_locks_wanted", "Assets for which executions wait")

SOURCES = (REQUESTS, CONTROL, REPORTS, LOCK_COMMANDS, LOCK_GRANTS)
_ERROR_CLASSES: Final = (
    *("empty", "invalid", "too_large", "not_json", "not_an_object"),
    *("no_route_key", "misrouted", "unknown_execution", "decision_failed"),
)


def main() -> int:
    """Run the router until it is stopped; returns the exit code."""
    return service.run("router", RouterSettings, ("kafka",), _run)


def _run(settings: RouterSettings, log: Log, health: Health, stop: threading.Event) -> None:
    tools = registry.load(test_tools=settings.test_tools)
    count_from_zero((topic.name for topic in SOURCES), _ERROR_CLASSES)
    group = f"{settings.topic_prefix}runstream-router"
    writer = Writer(settings.topic_prefix, group)

    def create(number: int) -> Hosted:
        store = StateStore(settings.dedup_hours * 3_600)
        router = RouterPartition(
            number=number,
            count=ROUTER_PARTITIONS,
            prefix=settings.topic_prefix,
            writer=writer,
            store=store,
            requests=RequestHandler(
                number, ROUTER_PARTITIONS, tools, store, lambda: secrets.randbits(42)
            ),
        )
        return Hosted(router, KeeperPartition(number))

    processor = Processor(
        settings=settings,
        log=log,
        health=health,
        group=group,
        sources=SOURCES,
        changelogs=(ROUTER_STATE, LOCKS_STATE),
        create=create,
    )
    _ACTIVE.set_function(lambda: sum(len(here.store.living) for here in partitions(processor)))
    _HELD.set_function(lambda: sum(len(here.keeper.keeper.holders) for here in _hosted(processor)))
    _WANTED.set_function(lambda: sum(len(here.keeper.keeper.queues) for here in _hosted(processor)))
    worker = Worker()
    expressions.evaluate_by(worker)
    try:
        processor.run(stop)
    finally:
        worker.close()


def partitions(processor: Processor) -> list[RouterPartition]:
    """The partitions that are here now; safe from the metrics thread."""
    return [hosted.router for hosted in _hosted(processor)]


def _hosted(processor: Processor) -> list[Hosted]:
    found = list(processor.partitions.values())
    return [partition for partition in found if isinstance(partition, Hosted)]
