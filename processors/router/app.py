"""The router process."""

from __future__ import annotations

import secrets
import threading
from typing import Final

from prometheus_client import Gauge

from processors.router import expressions
from processors.router.cel_worker import Worker
from processors.router.partition import RouterPartition
from processors.router.plan_cache import PlanCache
from processors.router.requests import RequestHandler
from processors.router.store import StateStore
from processors.router.writing import Writer
from runtime import service
from runtime.health import Health
from runtime.kafka.dead_letters import count_from_zero
from runtime.kafka.processor import Processor
from runtime.logs import Log
from runtime.settings import RouterSettings
from streams.topics import CONTROL, REPORTS, REQUESTS, ROUTER_PARTITIONS, ROUTER_STATE
from toolmeta import registry

_ACTIVE = Gauge("runstream_executions_active", "Executions that have not ended")

SOURCES = (REQUESTS, CONTROL, REPORTS)
_ERROR_CLASSES: Final = (
    *("empty", "invalid", "too_large", "not_json", "not_an_object"),
    *("no_route_key", "misrouted", "unknown_execution", "decision_failed"),
)


def main() -> int:
    """Run the router until it is stopped; returns the exit code."""
    return service.run("router", RouterSettings, ("kafka",), _run)


def _run(settings: RouterSettings, log: Log, health: Health, stop: threading.Event) -> None:
    plans = PlanCache(registry.load(test_tools=settings.test_tools))
    count_from_zero((topic.name for topic in SOURCES), _ERROR_CLASSES)
    group = f"{settings.topic_prefix}runstream-router"
    writer = Writer(settings.topic_prefix, group)

    def create(number: int) -> RouterPartition:
        store = StateStore(settings.dedup_hours * 3_600)
        return RouterPartition(
            number=number,
            count=ROUTER_PARTITIONS,
            prefix=settings.topic_prefix,
            writer=writer,
            store=store,
            requests=RequestHandler(
                number, ROUTER_PARTITIONS, plans, store, lambda: secrets.randbits(42)
            ),
        )

    processor = Processor(
        settings=settings,
        log=log,
        health=health,
        group=group,
        sources=SOURCES,
        changelog=ROUTER_STATE,
        create=create,
    )
    _ACTIVE.set_function(lambda: sum(len(here.store.living) for here in partitions(processor)))
    worker = Worker()
    expressions.evaluate_by(worker)
    try:
        processor.run(stop)
    finally:
        worker.close()


def partitions(processor: Processor) -> list[RouterPartition]:
    """The partitions that are here now; safe from the metrics thread."""
    found = list(processor.partitions.values())
    return [partition for partition in found if isinstance(partition, RouterPartition)]
