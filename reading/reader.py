"""Reader: who asks, and which executions of their tenant the policy lets them read; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

from reading.rows import Condition
from streams.vocabulary import Environment

#: The environment and the approval level of executions.
Kind = tuple[Environment, int]

_LEVELS: Final = range(4)
_EVERY: Final = frozenset(
    (environment, level) for environment in get_args(Environment) for level in _LEVELS
)

_SEEN: Final = (
    "EXISTS (SELECT 1 FROM execution.executions AS visible "
    "WHERE visible.execution_id = {table}.execution_id AND {condition})"
)

_SEEN_ONE: Final = (
    "EXISTS (SELECT 1 FROM execution.executions AS visible "
    "WHERE visible.execution_id = %(id)s::uuid AND {condition})"
)


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who reads; nobody sees anything of another tenant."""

    tenant: str
    actor: str
    #: Of the executions that the actor asked for, those that may be read; and of the others.
    own: frozenset[Kind]
    others: frozenset[Kind]

    @property
    def everything(self) -> bool:
        """Whether that is every execution of the tenant, whatever it is."""
        return self.own >= _EVERY and self.others >= _EVERY

    @property
    def nothing(self) -> bool:
        """Whether that is none at all."""
        return not self.own and not self.others

    def sees(self, environment: str | None, level: int | None, actor: str | None) -> bool:
        """The same as `condition`, about one execution of the tenant."""
        if self.everything:
            return True
        mine = actor is not None and actor.lower() == self.actor.lower()
        kind = (environment, level)
        if environment is None or level is None:
            return mine and bool(self.own)
        return kind in self.others if not mine else kind in self.own

    def condition(self, table: str = "e") -> Condition:
        """What holds of the rows of `execution.executions`, named `table`, that may be read.

        A request that was refused before anybody read its environment is its actor's.
        """
        values: dict[str, object] = {"reader_tenant": self.tenant}
        sql = f"{table}.tenant = %(reader_tenant)s"
        if self.everything:
            return Condition(sql, values)
        values["reader_actor"] = self.actor.lower()
        values["reader_own"] = _texts(self.own)
        values["reader_others"] = _texts(self.others)
        kind = f"({table}.environment || ':' || {table}.approval_level)"
        mine = f"coalesce(lower({table}.actor) = %(reader_actor)s, false)"
        own = f"coalesce({kind} = ANY(%(reader_own)s), cardinality(%(reader_own)s::text[]) > 0)"
        others = f"coalesce({kind} = ANY(%(reader_others)s), false)"
        return Condition(f"{sql} AND CASE WHEN {mine} THEN {own} ELSE {others} END", values)

    def sees_one(self) -> Condition:
        """Whether the execution of the parameter `id` may be read: asked once, not for each row."""
        inner = self.condition("visible")
        return Condition(_SEEN_ONE.format(condition=inner.sql), inner.values)

    def sees_row_of(self, table: str) -> Condition:
        """What holds of rows that belong to such an execution by their column `execution_id`.

        Each of these tables has the tenant too, which is all where everything may be read.
        """
        if self.everything:
            return self.condition(table)
        inner = self.condition("visible")
        return Condition(_SEEN.format(table=table, condition=inner.sql), inner.values)


def _texts(kinds: frozenset[Kind]) -> list[str]:
    return sorted(f"{environment}:{level}" for environment, level in kinds)
