"""The sink's own runs of retention: a thread that applies the policy from time to time."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import psycopg

from runtime.logs import Log
from runtime.retention import rules
from runtime.settings import SinkSettings
from sinks import retention


class RetentionThread(threading.Thread):
    """Deletes what the policy says, at the start and then every so many hours.

    Several sinks share the work by a lock in the database: one runs, the others pass.
    """

    def __init__(self, settings: SinkSettings, log: Log, stop: threading.Event) -> None:
        """Not started yet."""
        super().__init__(name="retention", daemon=True)
        self._settings = settings
        self._log = log
        self._stop_event = stop

    def run(self) -> None:
        """Until the process stops; a run that fails is tried again at the next time."""
        while not self._stop_event.is_set():
            try:
                self._once()
            except retention.Busy:
                self._log.debug("another process applies the retention policy")
            except psycopg.Error as error:
                # The message of Postgres; that of a failed connection can name the address.
                self._log.warning("retention did not finish", why=type(error).__name__)
            self._stop_event.wait(self._settings.retention_every_hours * 3_600)

    def _once(self) -> None:
        wanted = rules(self._settings.retention, datetime.now(UTC))
        with retention.session(self._settings.database_url.get_secret_value()) as connection:
            for deleted in retention.run(connection, wanted, self._stop_event.is_set):
                if deleted.rows:
                    self._log.info(
                        "deleted by retention", rows=deleted.rows, bytes=deleted.bytes,
                        of=deleted.rule.rows, tenant=deleted.rule.tenant,
                        before=deleted.rule.before.isoformat(timespec="seconds"),
                        finished=deleted.finished,
                    )  # fmt: skip
