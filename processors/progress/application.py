"""The Faust application: Faust manages the group, fetches and sends; `projector.py` folds.

`transport.py` says what is changed in Faust.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any, Final

import faust
from faust.types import StreamT

from processors.progress import broker, cluster
from processors.progress.history import DurationHistory
from processors.progress.last_hour import LastHour
from processors.progress.projector import Projector
from processors.progress.records import StateBuilder
from processors.progress.transport import Batch, BatchTransport, Restore
from runtime.health import Health
from runtime.kafka import clients
from runtime.kafka.lag import MARKER, ConsumerLag
from runtime.logs import Log
from runtime.settings import ProjectorSettings
from streams.envelope import Headers
from streams.topics import EVENTS, PROGRESS

GROUP: Final = "runstream-projector"


class ProjectorApp(faust.App):
    """A Faust application with our transport, and without folders on disk."""

    restore: Restore

    def _new_transport(self) -> BatchTransport:
        self.monitor.loop = self.loop
        self.sensors.add(self.monitor)
        return BatchTransport(self.conf.broker_consumer, self, restore=self.restore)

    def _create_directories(self) -> None:
        """Nothing is kept on disk."""


def build(settings: ProjectorSettings, restore: Restore) -> ProjectorApp:
    """The Faust application, not started; raises SettingsError for options it cannot honour."""
    app = ProjectorApp(
        id=settings.topic_prefix + GROUP,
        broker=broker.urls(settings),
        broker_client_id=f"runstream-{settings.instance}",
        broker_credentials=broker.credentials(settings),
        broker_max_poll_records=4_000,
        broker_request_timeout=60.0,
        # Membership is dynamic: an instance that stops leaves the group, and its partitions move
        # at once. A static member (KIP-345) would not leave, and they would wait for the end of
        # its session, as they do after a kill.
        broker_session_timeout=6.0,
        broker_heartbeat_interval=2.0,
        broker_rebalance_timeout=30.0,
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        # Batches, not records: some for each partition, so that memory stays bounded.
        stream_buffer_maxsize=32,
        producer_acks=-1,
        producer_max_request_size=PROGRESS.max_message_bytes,
        producer_request_timeout=30.0,
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        logging_config=None,
        autodiscover=False,
    )
    app.restore = restore
    return app


class Application:
    """One Faust application with its projector, from its start to its stop."""

    def __init__(
        self, settings: ProjectorSettings, log: Log, health: Health, last_hour: LastHour
    ) -> None:
        """Build everything, connect nothing; raises SettingsError."""
        self._settings = settings
        self._stop_reading = threading.Event()
        self._lag = ConsumerLag(settings.topic_prefix + GROUP, settings.topic_prefix)
        self.projector = Projector(log, health, last_hour, self._read_states, self._send)
        self.app = build(settings, self.projector.restore)
        self._events = self.app.topic(
            clients.topic_name(settings, EVENTS), value_serializer="raw", key_serializer="raw"
        )
        self._progress = self.app.topic(
            clients.topic_name(settings, PROGRESS), value_serializer="raw", key_serializer="raw"
        )
        # One at a time: with more, Faust 0.15 commits offsets of messages that are not done.
        self.app.agent(self._events, name="progress", concurrency=1)(self._project)

    async def start(self) -> None:
        """Join the group; returns when the first assignment is restored."""
        await self.app.start()

    def close(self) -> None:
        """Wait for the broker no longer; what is unpublished is folded again after a start."""
        self._stop_reading.set()
        self.projector.close()

    async def stop(self) -> None:
        """Leave the group after the batch in hand; safe after a crash too."""
        self.close()
        await self.app.stop()

    def show_lag(self) -> None:
        """Show how many events are still to be read, as far as the last fetches said."""
        if not self._lag.is_due():
            return
        name = self._events.get_topic_name()
        left = 0
        for tp in self.app.consumer.assignment():
            state = self.projector.partitions.get(tp.partition)
            end = self.app.consumer.highwater(tp) if tp.topic == name else None
            if state is not None and end is not None and end - state.position > MARKER:
                left += end - state.position
        self._lag.show({name: left})

    async def _project(self, stream: StreamT[Batch]) -> AsyncIterator[None]:
        async for batch in stream:
            await self.projector.process(batch)
            yield

    async def _read_states(
        self, partitions: list[int], history: DurationHistory
    ) -> dict[int, StateBuilder]:
        return await asyncio.to_thread(
            cluster.read_states, self._settings, partitions, self._stop_reading, history
        )

    async def _send(self, partition: int, key: bytes, value: bytes, given: Headers) -> Any:
        return await self._progress.send(
            key=key, value=value, partition=partition, headers=list(given)
        )
