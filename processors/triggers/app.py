"""The matcher process."""

from __future__ import annotations

import threading

from authority import process
from authority.keys import KeyFault
from processors.triggers.matcher import Matcher
from runtime import clock, service
from runtime.cel import expressions
from runtime.cel.worker import Worker
from runtime.health import Health
from runtime.kafka.outage import Outage
from runtime.logs import Log
from runtime.readiness import Readiness
from runtime.settings import MatcherSettings, SettingsError


def main() -> int:
    """Run the matcher until it is stopped; returns the exit code."""
    return service.run("matcher", MatcherSettings, ("kafka",), _run)


def _run(settings: MatcherSettings, log: Log, health: Health, stop: threading.Event) -> None:
    try:
        keys = process.load(
            "matcher",
            settings.signing_key,
            settings.trusted_keys,
            lambda fault: log.error("trusted keys not read", why=fault),
            clock.now,
        )
    except KeyFault as fault:
        raise SettingsError(str(fault)) from None
    outage = Outage(Readiness("kafka", ["matcher"], health, log), "matcher")
    worker = Worker()
    expressions.evaluate_by(worker)
    try:
        Matcher(settings, log, outage, keys).run(stop)
    finally:
        worker.close()
