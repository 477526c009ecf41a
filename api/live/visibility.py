"""Visibility: whether a caller may read an execution, and which events they want; pure."""

from __future__ import annotations

from dataclasses import dataclass

from api.caller import Caller
from api.live.records import LiveEvent, Origin
from reading.reader import Reader
from streams.lifecycle import STATUS_AFTER


def reader(caller: Caller) -> Reader:
    """What the caller may read, by the rule that queries have too."""
    visible = caller.rights.visible()
    return Reader(caller.tenant, caller.actor, visible.own, visible.others)


def may_read(who: Reader, origin: Origin) -> bool:
    """Whether this reader sees an execution of this origin."""
    return who.tenant == origin.tenant and who.sees(origin.environment, origin.level, origin.actor)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events of a tenant are wanted; what is empty narrows nothing."""

    types: frozenset[str] = frozenset()
    #: The beginnings of types, such as `step.`.
    beginnings: tuple[str, ...] = ()
    statuses: frozenset[str] = frozenset()
    procedures: frozenset[str] = frozenset()

    @classmethod
    def of(cls, types: list[str], statuses: list[str], procedures: list[str]) -> Filter:
        """From the words of a request; a type may end with `*`."""
        return cls(
            frozenset(word for word in types if not word.endswith("*")),
            tuple(word[:-1] for word in types if word.endswith("*")),
            frozenset(statuses),
            frozenset(procedures),
        )

    @property
    def narrows(self) -> bool:
        """Whether the event alone may be unwanted."""
        return bool(self.types or self.beginnings or self.statuses)

    @property
    def needs_origin(self) -> bool:
        """Whether the event alone does not decide."""
        return bool(self.procedures)

    def wants(self, event: LiveEvent) -> bool:
        """Whether it is wanted, as far as the event says."""
        if self.types or self.beginnings:
            kind = event.type
            if kind not in self.types and not kind.startswith(self.beginnings or ("\0",)):
                return False
        return not self.statuses or _status(event) in self.statuses

    def wants_of(self, origin: Origin | None) -> bool:
        """Whether events of this execution are wanted."""
        if not self.procedures:
            return True
        return origin is not None and origin.procedure in self.procedures


def _status(event: LiveEvent) -> str | None:
    """The status that the execution has after the event, where the event changes it."""
    if event.type == "execution.resumed":
        found = event.data().get("status")
        return found if isinstance(found, str) else None
    return STATUS_AFTER.get(event.type)
