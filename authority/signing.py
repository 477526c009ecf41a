"""Signing: the tokens of the records that one process writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from authority.keys import PrivateKey
from authority.tokens import RECORDS_PER_SIGNATURE, sign_all

#: Times of signatures are whole microseconds.
_STEP: Final = 1e-6


class RecordSigner:
    """Signs records of one process; safe from every thread.

    Each token is of a later time than the one before, also where the clock is set back: of a
    heartbeat and its copy the reader knows by that which is older.
    """

    def __init__(self, key: PrivateKey, now: Callable[[], float]) -> None:
        """`now` gives Unix seconds; `cluster` must be set before the first record."""
        self._key = key
        self._now = now
        self._lock = threading.Lock()
        self._last = 0.0
        #: The id of the Kafka cluster.
        self.cluster: str | None = None

    def tokens(self, topic: str, values: Sequence[bytes]) -> list[bytes]:
        """The token of each value, in their order; records of one topic share signatures.

        `topic` is without a prefix.
        """
        if self.cluster is None:
            raise RuntimeError("the id of the cluster is not known yet")
        found: list[bytes] = []
        with self._lock:
            self._last = now = max(self._now(), self._last + _STEP)
        for first in range(0, len(values), RECORDS_PER_SIGNATURE):
            part = values[first : first + RECORDS_PER_SIGNATURE]
            found += sign_all(self._key, topic, self.cluster, part, now)
        return found
