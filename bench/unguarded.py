"""The router or the executor without what protects them, to measure what that costs.

`python -m bench.unguarded router` (or `executor --domain test`) is the same process without
signatures, the chain of events, the policy, locks, quotas and audited decisions: each is replaced
here by something that does nothing. For `make bench` only, where nobody else writes to the topics.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import console.cli
import processors.executors.authentication
import processors.executors.reports
import processors.router.locks
import processors.router.writing
from authority.verifier import Verifier
from processors.executors.reports import Record, Reports
from processors.router.authentication import Signatures
from processors.router.authorisation import Authorisation, Authorisations, audit_of
from processors.router.decision import Decision
from processors.router.requests import RequestHandler
from processors.router.signed_output import SignedOutput
from runtime.kafka.processor import Output
from streams.events import Event, encode_event


def _take_away() -> None:
    """Replace every part; whoever renames one finds out by a failing assertion of `_replace`."""
    _replace(processors.executors.authentication, "refuse_command", lambda *found: None)
    _replace(Signatures, "report_time", _report_time)
    _replace(Verifier, "check", lambda *given: None)
    _replace(SignedOutput, "flush", _flush)
    _replace(Reports, "sign", _unsigned)
    _replace(processors.router.writing, "encode_chained", _encode)
    _replace(Authorisations, "find", _authorised)
    _replace(RequestHandler, "over_quota", lambda *given: None)
    _replace(Decision, "emit", _without_audit(Decision.emit))
    _replace(processors.router.locks, "fencing_tokens", lambda *given: {})


def _replace(where: Any, name: str, by: Any) -> None:
    assert hasattr(where, name), f"{where} has no {name}"
    setattr(where, name, by)


def _report_time(self: Signatures, message: Any, domain: str | None, now: float) -> int:
    return round(now * 1_000_000)


def _flush(self: SignedOutput, out: Output) -> None:
    for topic, held in self._held.items():
        for record in held:
            out.send(topic, record.key, record.value, record.headers, record.partition)
    self._held.clear()


def _unsigned(self: Reports, made: Sequence[Record]) -> list[Record]:
    return list(made)


def _encode(event: Event, previous: str) -> bytes:
    return encode_event(event)


def _authorised(self: Authorisations, policy: Any, identity: Any, *others: Any) -> Authorisation:
    return Authorisation(audit_of(identity, "run", True, ""), [])


def _without_audit(emit: Any) -> Any:
    def emitted(self: Decision, kind: str, *given: Any, **named: Any) -> None:
        if kind != "audit.decision":
            emit(self, kind, *given, **named)

    return emitted


if __name__ == "__main__":
    _take_away()
    sys.exit(console.cli.main(sys.argv[1:]))
