"""Why Kafka cannot be used now, in one sentence, and when to try again."""

from __future__ import annotations

import random
from typing import Final, NamedTuple

from confluent_kafka import KafkaError

from runtime import clock
from runtime.readiness import Readiness

#: Waits between attempts; they begin anew after each success.
WAITS_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)

#: Within so many seconds, after which a process ends.
_MAX_FENCINGS: Final = 3
_FENCED_SECONDS: Final = 60.0
#: A process that is fenced so soon after its first success is the newer of two: it endures more.
_NEW_SECONDS: Final = 3.0
_MAX_FENCINGS_NEW: Final = 6

UNREACHABLE: Final = "the broker does not answer"
NOT_ALLOWED: Final = "the broker does not allow it"
LOGIN: Final = "the broker refuses the login"
FENCED: Final = "another process with the same instance name has taken over"
MOVED: Final = "the consumer group has given the partitions to another process"
MISSING: Final = "a topic is missing: runstream topics apply"
CONFIGURATION: Final = "a client option is wrong"
OTHER: Final = "Kafka reports an error"

_SENTENCES: Final[dict[str, tuple[int, ...]]] = {
    UNREACHABLE: (
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._WAIT_COORD,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ),
    NOT_ALLOWED: (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    ),
    LOGIN: (
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._SSL,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
    ),
    FENCED: (
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.FENCED_INSTANCE_ID,
    ),
    MOVED: (
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._MAX_POLL_EXCEEDED,
    ),
    MISSING: (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC),
    CONFIGURATION: (KafkaError._INVALID_ARG, KafkaError._UNSUPPORTED_FEATURE),
}
_BY_CODE: Final = {code: text for text, codes in _SENTENCES.items() for code in codes}

#: One of several connections, or an interruption of this process: the calls that need the broker
#: will fail by themselves if it is more than that.
PASSING: Final = frozenset(
    {KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._MAX_POLL_EXCEEDED}
)


class Reason(NamedTuple):
    """The kind of error, always the same sentence for it, and the text of the error itself."""

    sentence: str
    error: str


def reason(error: KafkaError) -> Reason:
    """What an error of the client means for this process."""
    named = f"{error.name()}: {error.str()}"
    sentence = _BY_CODE.get(error.code(), OTHER)
    if sentence in (NOT_ALLOWED, LOGIN, OTHER):
        # The name says which resource is meant; unlike the text, it does not change.
        sentence = f"{sentence} ({error.name()})"
    return Reason(sentence, named)


class InstanceNameTaken(RuntimeError):
    """Another process of the same instance name takes over again and again; only one may run."""


class Outage:
    """The state of one user of Kafka: working, or waiting for a reason; for one thread."""

    def __init__(self, readiness: Readiness, member: str) -> None:
        """`member` is the name under which this user reports to `readiness`."""
        self._readiness = readiness
        self._member = member
        self._failures = 0
        self._reported = False
        self._answered = False
        self._fenced_at: list[float] = []
        #: When it worked first; None before.
        self._works_since: float | None = None
        self._max_fencings = _MAX_FENCINGS

    @property
    def has_failed(self) -> bool:
        """Whether anything failed since the last success."""
        return self._failures > 0 or self._reported

    @property
    def is_waiting(self) -> bool:
        """Whether no success was reported since the last failure, or ever."""
        return self._readiness.is_waiting(self._member)

    def failed(self, error: KafkaError) -> float:
        """Report the reason and return how many seconds to wait before the next attempt.

        Raises InstanceNameTaken where this is the third take-over within a minute, or the sixth of
        a process that has only begun: of two, the older ends.
        """
        self.report(error)
        if reason(error).sentence == FENCED:
            self._fenced(clock.monotonic())
        wait = WAITS_SECONDS[min(self._failures, len(WAITS_SECONDS) - 1)]
        self._failures += 1
        # Jitter: processes that lost the same broker do not reconnect at the same time.
        return wait * random.uniform(0.8, 1.2)

    def _fenced(self, now: float) -> None:
        before = [at for at in self._fenced_at if now - at < _FENCED_SECONDS]
        if not before:
            new = self._works_since is None or now - self._works_since < _NEW_SECONDS
            self._max_fencings = _MAX_FENCINGS_NEW if new else _MAX_FENCINGS
        self._fenced_at = [*before, now]
        if len(self._fenced_at) >= self._max_fencings:
            raise InstanceNameTaken(FENCED)

    def report(self, error: KafkaError) -> None:
        """Report the reason without counting an attempt, as for errors of a client's callback."""
        why = reason(error)
        self._reported = True
        self._answered = False
        self._readiness.waiting(self._member, why.sentence, error=why.error)

    def answered(self) -> None:
        """The broker answered a probe: the second one in turn ends the outage.

        A client queues what it reports by itself until the next poll, so an error that comes after
        the first answer may be older than that; poll between two probes.
        """
        if self._answered:
            self.recovered()
        else:
            self._answered = True

    def recovered(self) -> None:
        """Something succeeded that needs the broker: ready, and the next wait is short again."""
        if self._works_since is None:
            self._works_since = clock.monotonic()
        self._failures = 0
        self._reported = self._answered = False
        self._readiness.ready(self._member)
