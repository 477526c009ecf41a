"""The process of the API: `runstream api`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg
import uvicorn
from fastapi import APIRouter
from psycopg_pool import PoolTimeout

from api import app, database
from api.authentication import Authentication, Tokens
from api.caller import Caller
from api.connection import MAX_HEAD_BYTES, Connection
from api.event_reader import EventReader
from api.guard import Guard
from api.hooks.file import HooksError
from api.hooks.hooks import Hooks, SecretSource
from api.live import live
from api.parts import Parts
from api.records import Records
from api.rights import Rights
from authority import process
from authority.keys import KeyFault
from authority.policy_file import PolicyError, PolicyFile
from authority.process import ProcessKeys
from runtime import clock, environment, service
from runtime.health import Health
from runtime.logs import Log
from runtime.readiness import Readiness
from runtime.settings import ApiSettings, SettingsError
from toolmeta import own_tools, registry
from toolmeta.definitions import CatalogueError
from toolmeta.registry import Registry

#: How often the policy and the operator's own tools are looked at, in seconds.
WATCH_SECONDS: Final = 1.0
_DATABASE_SECONDS: Final = 5.0
#: Open connections, with all streams; a further one is answered 503 at once.
MAX_CONNECTIONS: Final = 2_000
_KEEP_ALIVE_SECONDS: Final = 15


def main(pages: Iterable[APIRouter] = ()) -> int:
    """Serve the API, and these pages, until it is stopped; returns the exit code."""
    # The service takes them out of the environment.
    prefix = environment.VARIABLE_PREFIX
    taken = environment.take(lambda name: name.startswith(prefix))
    variables = {name.removeprefix(prefix): value for name, value in taken.items()}
    run = partial(_run, tuple(pages), variables)
    return service.run("api", ApiSettings, ("kafka", "postgres"), run)


def _run(
    pages: tuple[APIRouter, ...],
    variables: Mapping[str, str],
    settings: ApiSettings,
    log: Log,
    health: Health,
    stop: threading.Event,
) -> None:
    tools = _tools(settings)
    policies = _policies(settings, tools, log)
    keys = _keys(settings, log)
    hooks = _hooks(settings, variables, log)
    listener = _listen(settings)
    kafka = Readiness("kafka", ["records", "events"], health, log)
    records = Records(settings, keys, kafka)
    reader = EventReader(settings, kafka)
    with database.pool(settings) as connections, _threads(records, reader):
        parts = Parts(
            settings=settings,
            log=log,
            database=connections,
            tools=tools,
            policies=policies,
            tokens=Tokens(keys.trusted, policies, settings.api_audience),
            records=records,
            answers=reader,
            hooks=hooks,
        )
        _watch_files(parts, stop)
        _watch_database(connections, health, log, stop)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        log.info("serving", url=f"http://{shown}:{port}")
        asyncio.run(_serve(parts, pages, listener, stop))


async def _serve(
    parts: Parts, pages: tuple[APIRouter, ...], listener: socket.socket, stop: threading.Event
) -> None:
    application = Authentication(app.create(parts, pages), parts.tokens)
    config = uvicorn.Config(
        Guard(application, parts.log),
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(int(parts.settings.drain_seconds), 1),
    )
    streams = live.opened(parts.settings, parts.log, parts.database, partial(_again, parts))
    async with streams as parts.live:
        await _Server(config, stop, parts.stopping).serve(sockets=[listener])


def _again(parts: Parts, caller: Caller) -> Caller | None:
    """Who holds a stream open, with the rights of now; None where their token counts no more."""
    if not parts.tokens.counts(caller):
        return None
    return replace(caller, rights=Rights(parts.policies.current, caller.identity))


class _Server(uvicorn.Server):
    """Ends when the process is told to; signals are the process's own."""

    def __init__(
        self, config: uvicorn.Config, stop: threading.Event, stopping: asyncio.Event
    ) -> None:
        super().__init__(config)
        self._stop = stop
        self._stopping = stopping

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; streams are told first, so that they end with a resume point."""
        if self._stop.is_set():
            self._stopping.set()
            return True
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None are taken; see runtime/service.py."""
        yield


@contextlib.contextmanager
def _threads(records: Records, reader: EventReader) -> Iterator[None]:
    records.open()
    reader.open()
    try:
        yield
    finally:
        reader.close()
        records.close()


def _listen(settings: ApiSettings) -> socket.socket:
    host, port = settings.api_host, settings.api_port
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        raise SettingsError(
            f"RUNSTREAM_API_HOST, RUNSTREAM_API_PORT: {host} port {port}: {error.strerror}"
        ) from None
    return found


def _tools(settings: ApiSettings) -> Registry:
    try:
        return registry.load(test_tools=settings.test_tools, own=settings.tools_path)
    except CatalogueError as error:
        raise SettingsError(str(error)) from None


def _policies(settings: ApiSettings, tools: Registry, log: Log) -> PolicyFile:
    path = None if settings.policy is None else Path(settings.policy)

    def report(error: PolicyError) -> None:
        log.error("policy_unusable", path=str(path), error=str(error), kept="the one before")

    try:
        found = PolicyFile(path, tools, report)
    except PolicyError as error:
        raise SettingsError(f"RUNSTREAM_POLICY: {path}: {error}") from None
    log.info("policy_read", path=str(path or "built in"), rules=len(found.current.document.rules))
    return found


def _keys(settings: ApiSettings, log: Log) -> ProcessKeys:
    try:
        return process.load(
            "api",
            settings.signing_key,
            settings.trusted_keys,
            lambda fault: log.error("trusted keys not read", why=fault),
            clock.now,
        )
    except KeyFault as fault:
        raise SettingsError(str(fault)) from None


def _hooks(settings: ApiSettings, variables: Mapping[str, str], log: Log) -> Hooks | None:
    if settings.hooks is None:
        return None
    folder = None if settings.secrets_dir is None else Path(settings.secrets_dir)

    def report(error: HooksError) -> None:
        log.error("hooks_unusable", path=settings.hooks, error=str(error), kept="those before")

    try:
        found = Hooks(Path(settings.hooks), SecretSource(variables, folder), report)
    except HooksError as error:
        raise SettingsError(f"RUNSTREAM_HOOKS: {settings.hooks}: {error}") from None
    log.info("hooks_read", path=settings.hooks, hooks=len(found))
    return found


def _watch_files(parts: Parts, stop: threading.Event) -> None:
    """Read tools, policy and hooks again when a file changes."""
    tools, policies, hooks, log = parts.tools, parts.policies, parts.hooks, parts.log

    def watch() -> None:
        while not stop.wait(WATCH_SECONDS):
            try:
                if tools.refresh():
                    log.info(own_tools.READ, version=tools.version)
            except CatalogueError as error:
                log.error(own_tools.NOT_READ, why=str(error), kept="those before")
            if policies.refresh():
                log.info("policy_read", rules=len(policies.current.document.rules))
            if hooks is not None and hooks.refresh():
                log.info("hooks_read", hooks=len(hooks))

    threading.Thread(target=watch, name="policy", daemon=True).start()


def _watch_database(
    connections: database.Database, health: Health, log: Log, stop: threading.Event
) -> None:
    """Say on the health port whether the database answers."""
    readiness = Readiness("postgres", ["api"], health, log)

    def watch() -> None:
        wait = 0.0
        while not stop.wait(wait):
            wait = _DATABASE_SECONDS
            try:
                with connections.connection() as connection:
                    connection.execute("SELECT 1")
            except (psycopg.Error, PoolTimeout) as error:
                why: Any = str(error).splitlines()[0] if str(error) else type(error).__name__
                readiness.waiting("api", "the database does not answer", error=why)
                wait = 1.0
            else:
                readiness.ready("api")

    threading.Thread(target=watch, name="database", daemon=True).start()
