"""The executor process: lanes that claim, an event loop that runs attempts, a control reader."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from authority import process
from authority.keys import KeyFault
from authority.process import ProcessKeys
from drivers.masking import Masker
from drivers.registry import DRIVERS
from drivers.resources import Resources
from drivers.secret_client import SecretBroker
from drivers.secret_config import config_of
from processors.executors import metrics
from processors.executors.agent import Agent
from processors.executors.approved import approval_check
from processors.executors.binding import binder
from processors.executors.cancellations import Cancellations
from processors.executors.claim_builder import CLAIM_DECISIONS
from processors.executors.control import ControlReader
from processors.executors.lane import Lane, LaneParts
from runtime import clock, environment, logs, service, tracing
from runtime.health import Health
from runtime.kafka import clients
from runtime.kafka.dead_letters import count_from_zero
from runtime.kafka.publisher import Publisher
from runtime.logs import Log
from runtime.readiness import Readiness
from runtime.settings import ExecutorSettings, SettingsError
from streams.topics import DOMAINS, STEPS
from toolmeta import own_tools, registry
from toolmeta.definitions import CatalogueError
from toolmeta.registry import Registry

#: A thread that comes back from a broker call asks the event loop for the interpreter lock; with
#: the default of 5 ms each such call of a claim would take as long as the whole claim should.
_SWITCH_SECONDS: Final = 0.0005
#: The part of a stop that is kept for killing what did not finish, and for the last reports.
_CLEAN_SHARE: Final = 0.3
#: How often the files of the operator's own tools are looked at.
_TOOLS_SECONDS: Final = 1.0
#: For what blocks: names, parsers, disks. Each attempt may look a name up, and a name server that
#: its plan has chosen can hold such a thread for half a minute.
_THREADS: Final = 128
_LANES: Final = ("bulk", "immediate")
_ERROR_CLASSES: Final = ("not_a_command", "unknown_version", "decision_failed", "not_authentic")


def main(domains: list[str]) -> int:
    """Serve these domains until SIGTERM; returns the exit code of `runtime.service.run`."""
    unknown = [domain for domain in domains if domain not in DOMAINS]
    if unknown or not domains:
        wrong = f"no domain {unknown[0]!r}" if unknown else "no domain given"
        sys.stderr.write(f"runstream executor: {wrong}; there are {', '.join(DOMAINS)}\n")
        return 2

    prefix = environment.VARIABLE_PREFIX
    taken = environment.take(lambda name: name.startswith(prefix))
    variables = {name.removeprefix(prefix): value for name, value in taken.items()}

    def body(settings: ExecutorSettings, log: Log, health: Health, stop: threading.Event) -> None:
        sys.setswitchinterval(_SWITCH_SECONDS)
        asyncio.run(serve(settings, log, health, stop, tuple(dict.fromkeys(domains)), variables))

    return service.run("executor", ExecutorSettings, ("kafka", "control"), body)


async def serve(
    settings: ExecutorSettings,
    log: Log,
    health: Health,
    stop: threading.Event,
    domains: tuple[str, ...],
    variables: Mapping[str, str],
) -> None:
    """Claim and run until `stop` is set, then drain; raises on a fault that needs an operator."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="blocking"))
    keys = _keys(settings, log, domains)
    if (traces := tracing.active()) is not None:
        traces.start()
    try:
        tools = registry.load(own=settings.tools_path)
    except CatalogueError as error:
        raise SettingsError(str(error)) from None
    config = config_of(settings, variables)
    broker = None if config.is_empty else SecretBroker(config, settings.secrets_user)
    # Refuses users of steps that are not there, before anything is started.
    resources = Resources(settings, broker, variables.values())
    if (notice := resources.step_users.notice()) is not None:
        log.warning(notice)
    publisher = Publisher(clients.producer(settings))
    if broker is not None:
        await broker.start()
    logs.mask_with(lambda line: Masker((), resources.secrets.known).text(line))
    cancellations = Cancellations()
    agent = Agent(settings, log, publisher, resources, DRIVERS, cancellations, keys.signer.tokens)
    over = threading.Event()
    control = ControlReader(
        settings,
        log,
        Readiness("control", ("control",), health, log),
        cancellations,
        keys,
        lambda attempt, cancel: _post(loop, partial(agent.cancel, attempt, cancel)),
        lambda attempt: _post(loop, partial(agent.report_forged, attempt)),
        over,
        stop,
    )
    named = [(domain, lane) for domain in domains for lane in _LANES]
    parts = LaneParts(
        settings=settings,
        log=log,
        kafka=Readiness("kafka", tuple(f"lane-{d}-{n}" for d, n in named), health, log),
        cancellations=cancellations,
        bind=binder(tools, DRIVERS),
        unapproved=approval_check(tools),
        keys=keys,
        hand_over=lambda lane, batch: _post(loop, partial(agent.begin, lane, batch)),
        control_loaded=control.loaded,
        may_claim=agent.may_claim,
        stop=stop,
    )
    lanes = [
        Lane(
            domain,
            lane,
            settings.concurrency if lane == "bulk" else settings.immediate_concurrency,
            parts,
        )
        for domain, lane in named
    ]
    for thread in (control, *lanes):
        thread.start()
    _register_metrics(lanes)
    await loop.run_in_executor(None, _watch, tools, log, stop)
    began = loop.time()
    clean = settings.drain_seconds * _CLEAN_SHARE
    await _joined(lanes, settings.drain_seconds - clean)
    passed = loop.time() - began
    log.info("draining", running=agent.running)
    left = await agent.drain(max(0.0, settings.drain_seconds - clean - passed), clean)
    if left:
        log.error("results were not delivered; their leases will run out", results=left)
    over.set()
    await _joined([control], 2.0)
    await resources.close()
    if broker is not None:
        await broker.close()
    await publisher.close(0.5)
    for failed in (control.failed, *(lane.failed for lane in lanes)):
        if failed is not None:
            raise failed


def _watch(tools: Registry, log: Log, stop: threading.Event) -> None:
    """Read the operator's own tools again when a file changes, until `stop` is set."""
    while not stop.wait(_TOOLS_SECONDS):
        try:
            if tools.refresh():
                log.info(own_tools.READ, version=tools.version)
        except CatalogueError as error:
            log.error(own_tools.NOT_READ, why=str(error), kept="those before")


def _keys(settings: ExecutorSettings, log: Log, domains: tuple[str, ...]) -> ProcessKeys:
    try:
        return process.load(
            "executor",
            settings.signing_key,
            settings.trusted_keys,
            lambda fault: log.error("trusted keys not read", why=fault),
            clock.now,
            domains,
        )
    except KeyFault as fault:
        raise SettingsError(str(fault)) from None


def _post(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)


async def _joined(threads: Sequence[threading.Thread], timeout_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    ends = [loop.run_in_executor(None, thread.join, timeout_seconds) for thread in threads]
    await asyncio.gather(*ends)


def _register_metrics(lanes: list[Lane]) -> None:
    for lane in lanes:
        labels = (lane.domain, lane.lane)
        metrics.SLOTS.labels(*labels).set(lane.slots.limit)
        metrics.RUNNING.labels(*labels).set_function(lane.slots.busy)
        for decision in CLAIM_DECISIONS:
            metrics.CLAIMS.labels(*labels, decision)
        count_from_zero((STEPS[labels].name,), _ERROR_CLASSES)
