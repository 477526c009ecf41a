"""Authentication: who signed the records that the router reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from confluent_kafka import Message
from prometheus_client import Counter

from authority.identity import Forged, Signer, Vouched, refuse_copy, refuse_signer
from authority.verifier import Proof, Verifier, Window, as_origin, as_signer, refuse_report
from processors.router.entries import DedupEntry
from processors.router.state import Execution
from runtime.kafka.parts import record_of
from streams.envelope import SIGNATURE, header, message_headers
from streams.topics import REPORTS, Topic

_FORGED: Final = Counter(
    "runstream_not_authentic_total",
    "Records refused for their signature, by what they are",
    ["record"],
)
#: What a record is, by the action of the decision that refuses it; all others are control messages.
_RECORDS: Final = {
    "request": "request", "report": "report", "command": "command", "cancel_step": "cancel",
}  # fmt: skip
for _record in (*_RECORDS.values(), "control"):
    _FORGED.labels(_record)


class Authentication(Protocol):
    """What a partition asks about the signature of a record."""

    def signer(
        self, message: Message, topic: Topic, now: float
    ) -> Signer | Vouched | Forged | None:
        """Whose key signed a request or a control message; None where it is not signed."""

    def of_key(self, kid: str, signed_at: int, now: float) -> Signer | Forged:
        """Whose key it is, if it counts now; `signed_at` in Unix microseconds."""

    def report_time(self, message: Message, domain: str | None, now: float) -> int | Forged:
        """When an executor of this domain (None: of any) signed a report, in Unix microseconds."""


@dataclass(slots=True)
class Signatures:
    """By the trusted keys; signatures of requests and control messages count in a window."""

    verifier: Verifier
    window: Window
    #: The record whose parts are being decided, and what its signature is worth.
    _record: Message | None = None
    _found: Proof | Forged | None = None

    def signer(
        self, message: Message, topic: Topic, now: float
    ) -> Signer | Vouched | Forged | None:
        """See Authentication."""
        token = header(message_headers(message), SIGNATURE)
        return as_origin(self.verifier.check(message.value(), token, topic.name, now, self.window))

    def of_key(self, kid: str, signed_at: int, now: float) -> Signer | Forged:
        """See Authentication."""
        found = as_signer(self.verifier.key(kid, signed_at, now))
        return found if found is not None else Forged(f"the key {kid[:64]} is nobody's")

    def report_time(self, message: Message, domain: str | None, now: float) -> int | Forged:
        """See Authentication; a report may be of any age: its executor may have been cut off."""
        record = record_of(message)
        if record is not self._record:
            token = header(message_headers(record), SIGNATURE)
            self._found = self.verifier.check(record.value(), token, REPORTS.name, now)
            self._record = record
        found = self._found
        wrong = refuse_report(found, domain)
        if wrong is not None or not isinstance(found, Proof):
            return Forged(wrong or "it is not signed")
        return found.signed_at


def forged_series(action: str) -> Counter:
    """What counts records whose signature is refused."""
    return _FORGED.labels(_RECORDS.get(action, "control"))


def domain_of(known: Execution | DedupEntry, name: str) -> str | None:
    """The domain of a step, None where the execution has none of this name."""
    if isinstance(known, Execution):
        step = known.steps.get(name)
        return None if step is None else known.spec(step).domain
    ended = known.steps.get(name)
    return None if ended is None else ended.domain


def refuse_control(
    signer: Signer | Forged | None, known: Execution | DedupEntry, actor: str, required: bool
) -> str | None:
    """Why a control message that names this actor does not count, or None."""
    wrong = refuse_signer(signer, known.tenant, actor, required=required)
    if wrong is not None or not isinstance(signer, Signer):
        return wrong
    return refuse_copy(signer, known.signed)
