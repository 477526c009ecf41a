"""Signing: the tokens of the records that one process writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from authority.keys import PrivateKey
from authority.tokens import RECORDS_PER_SIGNATURE, sign_all


class RecordSigner:
    """Signs records of one process; safe from every thread."""

    def __init__(self, key: PrivateKey, now: Callable[[], float]) -> None:
        """`now` gives Unix seconds; `cluster` must be set before the first record."""
        self._key = key
        self._now = now
        #: The id of the Kafka cluster.
        self.cluster: str | None = None

    def tokens(self, topic: str, values: Sequence[bytes]) -> list[bytes]:
        """The token of each value, in their order; records of one topic share signatures.

        `topic` is without a prefix.
        """
        if self.cluster is None:
            raise RuntimeError("the id of the cluster is not known yet")
        found: list[bytes] = []
        now = self._now()
        for first in range(0, len(values), RECORDS_PER_SIGNATURE):
            part = values[first : first + RECORDS_PER_SIGNATURE]
            found += sign_all(self._key, topic, self.cluster, part, now)
        return found
