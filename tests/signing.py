"""Keys for the processes that tests start, and signatures as those processes would write them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from authority.key_files import read_private
from authority.key_folder import KeyFolder
from authority.tokens import sign
from runtime.kafka.cluster import cluster_id
from streams.envelope import SIGNATURE
from streams.topics import Topic
from tests.brokers import client_options


@cache
def cluster_of(bootstrap: str, topic: str) -> str:
    """The id of a cluster that has this topic, by its full name."""
    client = AdminClient(client_options(bootstrap))
    deadline = time.monotonic() + 60
    while True:
        try:
            return cluster_id(client, topic)
        except KafkaException:
            # A busy broker may take longer for one call than a process waits.
            if time.monotonic() > deadline:
                raise


class Keyring:
    """The keys of one lab: router, matcher, executor (every domain), and operator, who is `ops`."""

    def __init__(self, folder: Path, bootstrap: str, prefix: str) -> None:
        self.folder = KeyFolder(folder / "keys")
        self.folder.complete("ops")
        self._bootstrap = bootstrap
        self._prefix = prefix

    def environment(self, arguments: Sequence[str]) -> dict[str, str]:
        """The variables of a process, by the words of its command."""
        roles = ("executor", "matcher")
        role = next((one for one in roles if any(one in word for word in arguments)), "router")
        return {
            "RUNSTREAM_SIGNING_KEY": str(self.folder.private(role)),
            "RUNSTREAM_TRUSTED_KEYS": str(self.folder.trusted),
        }

    def cluster(self, topic: Topic) -> str:
        """The id of the cluster."""
        return cluster_of(self._bootstrap, self._prefix + topic.name)

    def header(
        self, key: str, topic: Topic, value: bytes, at: float | None = None
    ) -> tuple[str, bytes]:
        """The signature of one record by the key of this name; now, or `at` (Unix seconds)."""
        private = read_private(self.folder.private(key))
        now = time.time() if at is None else at
        return SIGNATURE, sign(private, topic.name, self.cluster(topic), value, now)
