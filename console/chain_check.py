"""Checks of one execution's events against their chain; pure.

What is checked of an execution ends with its first finding: what comes after cannot be told apart
from the consequences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson

from streams.chain import link, start
from streams.events import EventRecord
from streams.lifecycle import ASIDES, TERMINAL_EVENTS
from streams.timestamps import unix

#: Tells whether a signature (None where there is none) is the router's over a chain: None where it
#: is, else why not, as one sentence.
Anchor = Callable[[str, str | None], str | None]

MISSING: Final = "missing"
REPEATED: Final = "repeated"
CHANGED: Final = "changed"
UNCHAINED: Final = "unchained"
AFTER_END: Final = "after_end"
UNSIGNED: Final = "unsigned"
UNREADABLE: Final = "unreadable"
NO_TAIL: Final = "tail_missing"


class Finding(NamedTuple):
    """The first event of an execution at which its log is not what the router wrote."""

    execution_id: str
    seq: int
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Linked:
    """One event as far as it is checked; `value` is its JSON without `chain`."""

    execution_id: str
    seq: int
    type: str
    at: str
    chain: str | None
    value: bytes
    signature: str | None = None


@dataclass(slots=True)
class Checked:
    """One execution, as far as its events were looked at."""

    execution_id: str
    seq: int = 0
    chain: str | None = None
    ended: bool = False
    #: The first number that the chain vouches for; 0 while there is none.
    holds_from: int = 0
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What is accepted, and who knows the router's signature."""

    #: Unix seconds: events of before may have no chain, since an earlier version wrote them.
    unchained_until: float = 0.0
    #: The events may begin later than with number 1: earlier records have expired.
    may_begin_late: bool = False
    anchor: Anchor | None = None


def linked(value: bytes, signature: str | None = None) -> Linked:
    """The event in a record; raises ValueError where it is none."""
    tree = orjson.loads(value)
    record = EventRecord.model_validate(tree)
    tree.pop("chain", None)
    return Linked(
        record.execution_id, record.seq, record.type, record.at, record.chain,
        orjson.dumps(tree), signature,
    )  # fmt: skip


def check(known: Checked, event: Linked, rules: Rules) -> Finding | None:
    """Take the next event of an execution; what is wrong with it, if it is the first such."""
    if known.is_bad:
        return None
    found = _number(known, event, rules) or _chain(known, event, rules) or _end(known, event, rules)
    known.seq, known.chain = event.seq, event.chain
    known.ended |= event.type in TERMINAL_EVENTS
    known.is_bad = found is not None
    if found is None:
        return None
    seq, kind, message = found
    return Finding(event.execution_id, seq, kind, message)


_Found = tuple[int, str, str] | None


def _number(known: Checked, event: Linked, rules: Rules) -> _Found:
    following = known.seq + 1
    if event.seq > following and not (known.seq == 0 and rules.may_begin_late):
        number = event.seq - following
        missing = "it is" if number == 1 else f"it and the {number - 1} after it are"
        return following, MISSING, f"{missing} missing before event {event.seq}"
    if event.seq < following:
        return event.seq, REPEATED, "an event of this number comes again, or after a later one"
    return None


def _chain(known: Checked, event: Linked, rules: Rules) -> _Found:
    if event.chain is None:
        if known.chain is None and _is_before(event.at, rules.unchained_until):
            return None
        return event.seq, UNCHAINED, "it has no chain"
    previous = known.chain
    if previous is None and event.seq != known.seq + 1:
        known.holds_from = event.seq + 1  # Nobody knows what it follows.
        return None
    if link(previous or start(event.execution_id), event.value) != event.chain:
        return event.seq, CHANGED, "it, or what stood before it, is not what the router wrote"
    known.holds_from = known.holds_from or event.seq
    return None


def _is_before(at: str, moment: float) -> bool:
    try:
        return unix(at) < moment
    except ValueError:  # An edit in the tables can make it anything.
        return False


def _end(known: Checked, event: Linked, rules: Rules) -> _Found:
    if known.ended and event.type not in ASIDES:
        return event.seq, AFTER_END, f"{event.type} cannot follow the end of an execution"
    if rules.anchor is None or event.chain is None:
        return None
    if known.ended or event.type in TERMINAL_EVENTS:
        why = rules.anchor(event.chain, event.signature)
        return None if why is None else (event.seq, UNSIGNED, why)
    return None
