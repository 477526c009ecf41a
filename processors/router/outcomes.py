"""Outcomes: what can become of a request; decided, not yet done."""

from __future__ import annotations

from dataclasses import dataclass

from processors.router.decoding import Undecodable
from processors.router.entries import DedupEntry
from processors.router.state import Execution
from streams.audit_payloads import Audit
from streams.explained import Explained
from streams.payloads import Accepted, Duplicate, Rejected


@dataclass(frozen=True, slots=True)
class Forward:
    """It belongs to another partition."""

    route: str
    home: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """A rejection: the first and only event of an id of its own.

    The client's own id is used where it is good and belongs here, so that the client can watch
    it; then it is remembered (`keep`), so that it is never used for anything else.
    """

    execution_id: str
    tenant: str
    data: Rejected
    keep: bool
    #: The decision about authority that refused it.
    audit: Audit | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same request again."""

    known: Execution | DedupEntry
    data: Duplicate
    now: float


@dataclass(frozen=True, slots=True)
class Accept:
    """A new execution, with the data of its `execution.accepted`."""

    execution_id: str
    tenant: str
    data: Accepted
    audit: Audit


@dataclass(frozen=True, slots=True)
class Explain:
    """Only asked what would become of it: an event of an id of its own, and nothing runs.

    The id is remembered (`keep`), so that it is never used for anything else. `admitted` is the
    plan as it would be accepted.
    """

    execution_id: str
    tenant: str
    data: Explained
    keep: bool
    admitted: Accepted | None = None


RequestDecision = Undecodable | Forward | Refuse | Repeat | Accept | Explain
