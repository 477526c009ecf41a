"""The projector process: it runs a Faust application that folds events into progress.

When Faust stops with an error, the application is stopped and a new one is built, after growing
pauses. Each one goes on from the published snapshots.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import Final

from processors.progress import broker, client_logs, cluster, metrics
from processors.progress.application import Application
from processors.progress.last_hour import LastHour
from runtime import service
from runtime.clock import monotonic
from runtime.health import Health
from runtime.logs import Log
from runtime.settings import ProjectorSettings, SettingsError, load

#: Seconds between two checks of whether the application has started, and whether it has ended.
_STARTING: Final = 0.1
_RUNNING: Final = 0.5
_WATCH: Final = 2.0
#: Seconds between two Faust applications: doubled until one has run for `_SETTLED`.
_FIRST_PAUSE: Final = 0.5
_WORST_PAUSE: Final = 10.0
_SETTLED: Final = 60.0


class FailedThreads:
    """Why threads of the present application ended with an error; empty if none did."""

    def __init__(self) -> None:
        """Begin with none."""
        self._reasons: list[str] = []

    def add(self, why: str) -> None:
        """A thread has ended; called from that thread."""
        if not self._reasons:
            self._reasons.append(why)

    def first(self) -> str | None:
        """Why the first of them ended."""
        return self._reasons[0] if self._reasons else None

    def clear(self) -> None:
        """A new application begins."""
        self._reasons.clear()


async def _serve(
    settings: ProjectorSettings,
    log: Log,
    health: Health,
    stop: threading.Event,
    last_hour: LastHour,
    failed: FailedThreads,
) -> None:
    """Run application after application until `stop`."""
    watch = cluster.TopicCheck(settings)
    pause = _FIRST_PAUSE
    while not stop.is_set():
        if not await _answers(watch, log, health):
            await asyncio.to_thread(stop.wait, 1.0)
            continue
        application = Application(settings, log, health, last_hour)
        started = monotonic()
        failed.clear()
        watching = asyncio.create_task(_watch(watch, log, health))
        why = await _run_application(application, health, stop, failed)
        watching.cancel()
        away = not await _answers(watch, log, health)
        await _stop_application(application, log, 2.0 if away else settings.drain_seconds, why)
        if why is None:
            return
        if health.waiting("kafka", why):
            log.warning("the Kafka client stopped; it is started again", why=why)
        pause = _FIRST_PAUSE if monotonic() - started > _SETTLED else min(2 * pause, _WORST_PAUSE)
        await asyncio.to_thread(stop.wait, pause)


async def _stop_application(
    application: Application, log: Log, seconds: float, why: str | None
) -> None:
    """Stop the application; where it does not stop in time, end the process.

    Faust does not stop while it waits for a broker that is away, and threads that do not end
    could go on writing. Ending at once loses nothing: it is what `kill -9` does.
    """
    stopping = asyncio.ensure_future(application.stop())
    await asyncio.wait({stopping}, timeout=seconds)
    if not stopping.done():
        log.warning("the Kafka client does not stop; the process ends without it")
        os._exit(0 if why is None else 1)
    error = stopping.exception()
    if error is not None:
        log.warning("the Kafka client stopped with an error", why=repr(error))


async def _answers(watch: cluster.TopicCheck, log: Log, health: Health) -> bool:
    """Whether the broker answers and has the topics; if not, that is logged once."""
    try:
        await asyncio.to_thread(watch.check)
    except cluster.ClusterUnready as unready:
        if health.waiting("kafka", str(unready)):
            log.warning("waiting for Kafka", why=str(unready))
        return False
    return True


async def _watch(watch: cluster.TopicCheck, log: Log, health: Health) -> None:
    """Log when the broker stops answering and when it answers again; the clients reconnect."""
    away = False
    while True:
        await asyncio.sleep(_WATCH)
        answers = await _answers(watch, log, health)
        if answers and away:
            health.ready("kafka")
            log.info("Kafka answers again")
        away = not answers


async def _run_application(
    application: Application, health: Health, stop: threading.Event, failed: FailedThreads
) -> str | None:
    """Run one application; why it ended, or None where the process is to stop."""
    starting = asyncio.ensure_future(application.start())
    ticking: asyncio.Task[None] | None = None
    app = application.app
    try:
        while not await asyncio.to_thread(stop.wait, _STARTING if ticking is None else _RUNNING):
            if app.crashed or app.should_stop:
                return f"Faust ended: {app.crash_reason!r}"
            if failed.first() is not None:
                return failed.first()
            if ticking is not None and ticking.done():
                ticking.result()
            elif ticking is None and starting.done():
                starting.result()
                health.ready("kafka")
                health.ready("publish")
                ticking = asyncio.create_task(_tick(application))
        return None
    except Exception as error:  # The next application goes on from what was published.
        return f"the projector failed: {error!r}"
    finally:
        application.close()
        for task in (starting, ticking):
            if task is not None and not task.done():
                task.cancel()
        await asyncio.gather(starting, *([ticking] if ticking else []), return_exceptions=True)


async def _tick(application: Application) -> None:
    while True:
        await application.projector.wait_due()
        await application.projector.tick()
        application.show_lag()


def _body(settings: ProjectorSettings, log: Log, health: Health, stop: threading.Event) -> None:
    failed = FailedThreads()
    client_logs.listen(log, settings.log_level == "debug", failed.add)
    last_hour = LastHour()
    shown = metrics.show(last_hour)
    try:
        asyncio.run(_serve(settings, log, health, stop, last_hour, failed))
    finally:
        metrics.hide(shown)


def main() -> int:
    """Run the projector until SIGTERM or SIGINT; the exit code of `runtime.service.run`.

    Kafka options that Faust's client cannot honour count as a wrong setting (exit code 2).
    """
    try:
        broker.credentials(load(ProjectorSettings))
    except SettingsError as error:
        sys.stderr.write(f"runstream projector: {error}\n")
        return 2
    return service.run("projector", ProjectorSettings, ("kafka", "publish"), _body)


if __name__ == "__main__":
    raise SystemExit(main())
