"""The outcomes of a transaction, and the client errors that lead to them."""

from __future__ import annotations

import enum
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from prometheus_client import Counter, Histogram

_TRANSACTIONS = Counter("runstream_transactions_total", "Transactions by outcome", ["outcome"])
SECONDS: Final = Histogram(
    "runstream_transaction_seconds",
    "From the first record sent to the commit",
    buckets=(0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.384, 0.5, 1, 5, 15),
)

UNREACHABLE: Final = frozenset(
    {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}
)
#: Error codes due to a single record and not to the broker.
REFUSED_RECORD: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError._BAD_MSG,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
    }
)


class Outcome(enum.Enum):
    """How a transaction ended."""

    COMMITTED = "committed"
    #: No `read_committed` reader will see it; the consumer must go back to what is committed.
    ABORTED = "aborted"
    #: The same, and the producer must be opened again.
    FENCED = "fenced"
    #: The producer must be opened again; then the committed offsets show whether it was committed.
    UNKNOWN = "unknown"


class RecordRefused(Exception):
    """A record that was sent can never be stored as it is, for example because of its size."""


def counted(outcome: Outcome) -> Outcome:
    """The same outcome, counted for the metrics."""
    _TRANSACTIONS.labels(outcome.value).inc()
    return outcome


def timed_out(text: str) -> KafkaException:
    """The error of a call that exceeded the time limit of this program."""
    return KafkaException(KafkaError(KafkaError._TIMED_OUT, text))


for _outcome in Outcome:
    _TRANSACTIONS.labels(_outcome.value)
