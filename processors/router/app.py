"""The router process."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from confluent_kafka import Message
from confluent_kafka.admin import AdminClient
from prometheus_client import REGISTRY, Gauge

from authority import process
from authority.identity import Forged, Signer
from authority.keys import KeyFault
from authority.policy_file import PolicyError, PolicyFile
from authority.process import ProcessKeys
from authority.verifier import Window, as_signer
from processors.command_authority import CommandAuthority
from processors.locks.partition import KeeperPartition
from processors.router.authentication import Signatures
from processors.router.hosting import Hosted
from processors.router.living_metrics import LivingCollector
from processors.router.partition import RouterPartition
from processors.router.plan_cache import PlanCache
from processors.router.procedure_topic import ProcedureTopic
from processors.router.procedures import Library
from processors.router.quotas import Quota
from processors.router.requests import RequestHandler
from processors.router.signed_output import SignedOutput
from processors.router.store import StateStore
from processors.router.writing import Writer
from processors.schedules.partition import SchedulesPartition
from processors.triggers.partition import TriggersPartition
from runtime import clock, service, tracing
from runtime.cel import expressions
from runtime.cel.worker import Worker
from runtime.health import Health
from runtime.kafka import clients
from runtime.kafka.broker_clock import BrokerClock
from runtime.kafka.cluster import cluster_id
from runtime.kafka.commit_counts import CommitCounts
from runtime.kafka.dead_letters import RETRIES_EXHAUSTED, count_from_zero
from runtime.kafka.processor import Processor
from runtime.logs import Log
from runtime.settings import RouterSettings, SettingsError
from streams import report_lines
from streams.envelope import message_headers
from streams.topics import (
    CONTROL,
    LOCK_COMMANDS,
    LOCK_GRANTS,
    LOCKS_STATE,
    PROCEDURES,
    REPORTS,
    REQUESTS,
    ROUTER_PARTITIONS,
    ROUTER_STATE,
    SCHEDULE_COMMANDS,
    SCHEDULES_STATE,
    STEPS,
    TRIGGER_COMMANDS,
    TRIGGERS_STATE,
)
from toolmeta import own_tools, registry
from toolmeta.definitions import CatalogueError
from toolmeta.registry import Registry

_HELD = Gauge("runstream_locks_held", "Assets that are locked")
_WANTED = Gauge("runstream_locks_wanted", "Assets for which executions wait")

#: How often the policy file is looked at, in seconds.
POLICY_SECONDS: Final = 1.0

#: The last is one that the router writes too: the loop measures the broker's clock by it.
SOURCES = (
    REQUESTS,
    CONTROL,
    REPORTS,
    SCHEDULE_COMMANDS,
    TRIGGER_COMMANDS,
    LOCK_COMMANDS,
    LOCK_GRANTS,
)
_ERROR_CLASSES: Final = (
    *("empty", "invalid", "too_large", "not_json", "not_an_object"),
    *("no_route_key", "misrouted", "unknown_execution", "decision_failed", "not_authentic"),
    *("decision_crashed", "forbidden", "unknown_schedule", "unknown_trigger"),
    *("conflict", "too_many"),
)
#: Partitions that are restored together ask for the cluster's id once.
_ASK_SECONDS: Final = 10.0


def main() -> int:
    """Run the router until it is stopped; returns the exit code."""
    return service.run("router", RouterSettings, ("kafka",), _run)


def _run(settings: RouterSettings, log: Log, health: Health, stop: threading.Event) -> None:
    tools = _tools(settings)
    plans = PlanCache(tools)
    policies = _policies(settings, tools, log)
    count_from_zero((topic.name for topic in SOURCES), _ERROR_CLASSES)
    count_from_zero((topic.name for topic in STEPS.values()), (RETRIES_EXHAUSTED,))
    group = f"{settings.topic_prefix}runstream-router"
    broker_clock = BrokerClock()
    counts = CommitCounts()
    keys = _keys(settings, log, lambda: clock.now() - broker_clock.ahead_seconds)
    remembered = settings.dedup_hours * 3_600
    authentication = Signatures(keys.verifier, Window.within(remembered))
    authority = CommandAuthority(
        keys.verifier,
        authentication.window,
        lambda: policies.current,
        settings.require_signatures,
        authentication.of_key,
    )
    cluster = _Cluster(settings, keys)
    signed = SignedOutput(keys.signer.tokens)
    traces = tracing.active()

    def signer_of(value: bytes, token: str | None, now: float) -> Signer | Forged | None:
        # Of any age: a procedure is applied once, and used for years.
        return as_signer(keys.verifier.check(value, token, PROCEDURES.name, now))

    procedures = ProcedureTopic(settings, log, Library(signer_of))

    @lru_cache(maxsize=10_000)
    def quota_of(tenant: str) -> Quota:
        found = settings.quotas.of(tenant)
        return Quota(found.active_executions, found.executions_per_hour, found.steps_per_hour)

    def create(number: int) -> Hosted:
        cluster.refresh()
        # A partition is made anew after an abort, or before its first batch.
        signed.clear()
        store = StateStore(remembered)
        writer = Writer(settings.topic_prefix, group, signed, counts)
        router = RouterPartition(
            number=number,
            count=ROUTER_PARTITIONS,
            prefix=settings.topic_prefix,
            writer=writer,
            store=store,
            requests=RequestHandler(
                number,
                ROUTER_PARTITIONS,
                plans,
                store,
                lambda: secrets.randbits(42),
                lambda: policies.current,
                settings.require_signatures,
                quota_of,
                procedures=procedures,
                of_key=authentication.of_key,
            ),
            authentication=authentication,
            traces=None if traces is None else traces.sampling,
        )
        triggers = TriggersPartition(number, settings.topic_prefix, authority, signed.add, counts)
        schedules = SchedulesPartition(
            number,
            ROUTER_PARTITIONS,
            authority,
            signed.add,
            lambda: secrets.randbits(42),
            router.suspended,
            counts,
        )
        return Hosted(router, KeeperPartition(number, counts=counts), (schedules, triggers))

    processor = Processor(
        settings=settings,
        log=log,
        health=health,
        group=group,
        sources=SOURCES,
        changelogs=(ROUTER_STATE, LOCKS_STATE, SCHEDULES_STATE, TRIGGERS_STATE),
        create=create,
        local=(LOCK_COMMANDS, LOCK_GRANTS),
        split=partial(_reports, clients.topic_name(settings, REPORTS)),
        broker_clock=broker_clock,
        counts=counts,
    )
    REGISTRY.register(LivingCollector(lambda: list(partitions(processor))))
    _HELD.set_function(lambda: sum(len(here.keeper.keeper.holders) for here in _hosted(processor)))
    _WANTED.set_function(lambda: sum(len(here.keeper.keeper.queues) for here in _hosted(processor)))
    watcher = threading.Thread(
        target=_watch, args=(tools, policies, log, stop), name="policy", daemon=True
    )
    watcher.start()
    worker = Worker()
    os.register_at_fork(after_in_child=worker.forked)  # See runtime/kafka/trial.py.
    os.register_at_fork(after_in_child=procedures.forked)
    expressions.evaluate_by(worker)
    try:
        processor.run(stop)
    finally:
        procedures.close()
        worker.close()


def _policies(settings: RouterSettings, tools: Registry, log: Log) -> PolicyFile:
    """The policy of the settings; raises SettingsError where it cannot be used at the start."""
    path = None if settings.policy is None else Path(settings.policy)

    def report(error: PolicyError) -> None:
        log.error("policy_unusable", path=str(path), error=str(error), kept="the one before")

    try:
        found = PolicyFile(path, tools, report)
    except PolicyError as error:
        raise SettingsError(f"RUNSTREAM_POLICY: {path}: {error}") from None
    log.info("policy_read", path=str(path or "built in"), rules=len(found.current.document.rules))
    return found


def _reports(topic: str, record: Message) -> list[bytes] | None:
    """The reports in a record of several; `topic` is the full name of their topic."""
    value = record.value()
    if value is None or b"\n" not in value or record.topic() != topic:
        return None
    return report_lines.split(value, message_headers(record))


def _tools(settings: RouterSettings) -> Registry:
    try:
        return registry.load(test_tools=settings.test_tools, own=settings.tools_path)
    except CatalogueError as error:
        raise SettingsError(str(error)) from None


def _watch(tools: Registry, policies: PolicyFile, log: Log, stop: threading.Event) -> None:
    """Read tools and policy again when a file changes: away from the loop, which must not wait."""
    while not stop.wait(POLICY_SECONDS):
        try:
            if tools.refresh():
                log.info(own_tools.READ, version=tools.version)
        except CatalogueError as error:
            log.error(own_tools.NOT_READ, why=str(error), kept="those before")
        if policies.refresh():
            log.info("policy_read", rules=len(policies.current.document.rules))


def _keys(settings: RouterSettings, log: Log, now: Callable[[], float]) -> ProcessKeys:
    try:
        return process.load(
            "router",
            settings.signing_key,
            settings.trusted_keys,
            lambda fault: log.error("trusted keys not read", why=fault),
            now,
        )
    except KeyFault as fault:
        raise SettingsError(str(fault)) from None


@dataclass(slots=True)
class _Cluster:
    """Tells the keys on which cluster this process works."""

    settings: RouterSettings
    keys: ProcessKeys
    asked_at: float = -_ASK_SECONDS

    def refresh(self) -> None:
        """Ask the broker, unless that was just done; raises KafkaException."""
        now = clock.monotonic()
        if now - self.asked_at < _ASK_SECONDS:
            return
        client = AdminClient(clients.common(self.settings))
        self.keys.on_cluster(cluster_id(client, clients.topic_name(self.settings, ROUTER_STATE)))
        self.asked_at = now


def partitions(processor: Processor) -> list[RouterPartition]:
    """The partitions that are here now; safe from the metrics thread."""
    return [hosted.router for hosted in _hosted(processor)]


def _hosted(processor: Processor) -> list[Hosted]:
    found = list(processor.partitions.values())
    return [partition for partition in found if isinstance(partition, Hosted)]
