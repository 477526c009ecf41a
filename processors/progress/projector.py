"""The projector's work: fold batches, publish what is due, restore; it knows no Kafka client.

Everything happens in one event loop under one lock. Nothing is folded between the choice of what
to publish and its delivery, so the offset in each record holds for the state in it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import orjson
from pydantic import ValidationError

from processors.progress import metrics, records
from processors.progress.history import DurationHistory
from processors.progress.last_hour import LastHour
from processors.progress.partition import PartitionState
from processors.progress.state import Progress
from processors.progress.transport import Batch, OffsetRange
from runtime import clock
from runtime.health import Health
from runtime.logs import Log
from streams.envelope import Headers
from streams.events import decode_event

#: Sends one record to a partition of the progress topic; the inner awaitable is its delivery.
Send = Callable[[int, bytes, bytes, Headers], Awaitable[Awaitable[object]]]
#: Reads the states of some partitions as they were last published.
ReadStates = Callable[[list[int], DurationHistory], Awaitable[dict[int, records.StateBuilder]]]

_BATCH: Final = 500
_SOON_SECONDS: Final = 0.1
_IDLE_SECONDS: Final = 1.0
#: A partition whose newest record is older than this when it arrives is being caught up.
_CAUGHT_UP: Final = 1.0
_WORST_BACKOFF: Final = 5.0
#: Snapshots that are made anew because of the time alone, however many executions run.
_REFRESHES_PER_SECOND: Final = 100.0
_LOGGED_PER_MINUTE: Final = 10


class Projector:
    """Progress of all executions of the assigned partitions."""

    def __init__(
        self, log: Log, health: Health, last_hour: LastHour, read_states: ReadStates, send: Send
    ) -> None:
        """Hold no partition yet."""
        self.partitions: dict[int, PartitionState] = {}
        self._log = log
        self._health = health
        self._last_hour = last_hour
        self._read_states = read_states
        self._send = send
        self._lock = asyncio.Lock()
        self._closing = asyncio.Event()
        #: What steps took before, of the partitions that this instance holds.
        self._history = DurationHistory()
        #: How many snapshots may still be made anew, and when that was counted.
        self._refreshes, self._refreshes_at = 0.0, clock.monotonic()
        #: Monotonic time until which a partition counts as lagging.
        self._lagging: dict[int, float] = {}
        self._logged_at: list[float] = []
        #: Set while a state is not published that becomes due by time alone.
        self._unpublished = asyncio.Event()

    def close(self) -> None:
        """Stop trying to publish; what is unpublished is folded again after the next start."""
        self._closing.set()

    async def restore(self, ranges: dict[int, OffsetRange]) -> dict[int, int]:
        """Take over these partitions and no others; where to read each one from."""
        async with self._lock:
            self.partitions.clear()
            self._history = DurationHistory()
            stored = await self._read_states(list(ranges), self._history) if ranges else {}
            for partition, given in ranges.items():
                for damage in stored[partition].damaged[:_LOGGED_PER_MINUTE]:
                    self._log.warning("a stored progress state is left out", why=damage)
                state = stored[partition].state()
                if state.position > given.end:
                    # The event topic was created anew: the stored states are of other executions.
                    self._log.warning(
                        "events are fewer than published; folding anew", partition=partition
                    )
                    state = PartitionState(given.first)
                state.position = max(state.position, given.first)
                self.partitions[partition] = state
            self._count_live()
            self._log.info(
                "partitions restored",
                partitions=sorted(self.partitions),
                live=sum(len(state.live) for state in self.partitions.values()),
            )
            return {partition: state.position for partition, state in self.partitions.items()}

    async def process(self, batch: Batch) -> None:
        """Fold one batch and publish what is due; a record that cannot be folded is logged,
        counted and passed over (the sink keeps its bytes in the dead-letter topic)."""
        async with self._lock:
            state = self.partitions.get(batch.partition)
            if state is None:
                return  # Revoked meanwhile: its next owner reads it.
            for offset, value in batch.records:
                try:
                    self._fold(state, offset, value)
                except Exception as error:  # A defect, too, must not stop the records behind it.
                    metrics.EVENTS.labels("poison").inc()
                    self._log_passed_over(batch.partition, offset, error)
                state.position = max(state.position, offset + 1)
            behind = max(0.0, clock.now() - batch.appended_at)
            metrics.BEHIND.set(behind)
            metrics.DELAY.observe(behind)
            if behind > _CAUGHT_UP:
                self._lagging[batch.partition] = clock.monotonic() + _CAUGHT_UP
            await self._publish(batch.partition, state)
            if state.has_unpublished:
                self._unpublished.set()

    async def wait_due(self) -> None:
        """Return when `tick` should be called: a tenth of a second after it left a state
        unpublished, or after a second without one, for the deadlines that have passed."""
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                await self._unpublished.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_SOON_SECONDS)

    async def tick(self) -> None:
        """Publish what has become due by time alone."""
        async with self._lock:
            self._last_hour.advance(clock.now())
            monotonic = clock.monotonic()
            gained = (monotonic - self._refreshes_at) * _REFRESHES_PER_SECOND
            self._refreshes = min(self._refreshes + gained, _REFRESHES_PER_SECOND)
            self._refreshes_at = monotonic
            for partition, state in list(self.partitions.items()):
                state.mark_overdue(self._now(partition, state))
                if self._lagging.get(partition, 0.0) <= monotonic:
                    self._refreshes -= state.mark_stale(monotonic, int(self._refreshes))
                await self._publish(partition, state)
            if not any(state.has_unpublished for state in self.partitions.values()):
                self._unpublished.clear()
            self._count_live()

    def _fold(self, state: PartitionState, offset: int, value: bytes | None) -> None:
        if value is None:
            raise ValueError("an event without a value")
        event = decode_event(value)
        result = state.process(offset, event)
        metrics.EVENTS.labels(result.outcome).inc()
        if result.progress is None:
            return
        step = result.progress.steps.get(event.step) if event.step is not None else None
        self._last_hour.count(event, step.tool if step is not None else None)
        if result.progress.ended_at is not None:
            self._history.observe(result.progress)

    def _now(self, partition: int, state: PartitionState) -> float:
        """Unix seconds; while a backlog is read, the time of its newest event."""
        if self._lagging.get(partition, 0.0) > clock.monotonic():
            return state.stream_time
        return max(clock.now(), state.stream_time)

    async def _publish(self, partition: int, state: PartitionState) -> None:
        """Deliver every due snapshot; while the broker is away wait here, so that nothing more is
        read. Ends early only on `close`."""
        backoff = 0.1
        while due := state.due(clock.monotonic(), _BATCH):
            now, low_water = self._now(partition, state), state.low_water()
            shown = [self._record(one, now, low_water) for one in due]
            try:
                deliveries = [
                    await self._send(partition, one.key, one.value, one.headers) for one in shown
                ]
                await asyncio.gather(*deliveries)
            except Exception as error:  # Logged once; each kind means: not delivered, try again.
                if self._health.waiting("publish", f"snapshots are not delivered: {error!r}"):
                    self._log.warning("snapshots are not delivered", why=repr(error))
                try:
                    async with asyncio.timeout(backoff):
                        await self._closing.wait()
                except TimeoutError:
                    backoff = min(2 * backoff, _WORST_BACKOFF)
                    continue
                return
            state.published([one.progress for one in shown], clock.monotonic())
            metrics.SNAPSHOTS.inc(len(due))
            self._health.ready("publish")

    def _record(self, progress: Progress, now: float, low_water: int) -> records.Record:
        """The snapshot; without an estimate from history where that cannot be made."""
        try:
            return records.record(progress, now, low_water, self._history)
        except (ArithmeticError, LookupError, ValueError) as error:
            # A defect of the estimate must not hold up what is known.
            if self._may_log():
                ident = progress.facts.execution_id
                self._log.exception("no estimate can be made", execution=ident, why=repr(error))
            return records.record(progress, now, low_water)

    def _may_log(self) -> bool:
        """Whether this minute has had fewer lines than it may have."""
        minute_ago = time.monotonic() - 60
        self._logged_at = [at for at in self._logged_at if at > minute_ago]
        if len(self._logged_at) >= _LOGGED_PER_MINUTE:
            return False
        self._logged_at.append(time.monotonic())
        return True

    def _log_passed_over(self, partition: int, offset: int, error: Exception) -> None:
        if self._may_log():
            malformed = isinstance(error, ValidationError | orjson.JSONDecodeError)
            why = "not an event" if malformed else repr(error)[:200]
            self._log.warning("an event is skipped", partition=partition, offset=offset, why=why)

    def _count_live(self) -> None:
        for status, gauge in metrics.EXECUTIONS_BY_STATUS.items():
            gauge.set(sum(state.statuses[status] for state in self.partitions.values()))
