"""Topics: what is read from Kafka on request, kept for moments; of one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reading import locks, procedures, schedules, triggers
from reading.cluster import Cluster
from reading.progress import Snapshots

if TYPE_CHECKING:
    from runtime.settings import CommonSettings


class Topics:
    """For any thread; nothing is opened before somebody asks."""

    def __init__(self, settings: CommonSettings) -> None:
        """Of the brokers that the settings name."""
        self.procedures = procedures.topic(settings)
        self.schedules = schedules.topic(settings)
        self.triggers = triggers.topic(settings)
        self.locks = locks.topic(settings)
        self.cluster = Cluster(settings)
        self.snapshots = Snapshots(settings)

    def close(self) -> None:
        """Leave the brokers."""
        for topic in (self.procedures, self.schedules, self.triggers, self.locks):
            topic.close()
        self.snapshots.close()
