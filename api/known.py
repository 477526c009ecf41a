"""Known executions: whose they are, so that nobody learns of one that they may not see."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Final, get_args

from fastapi import Path
from starlette.concurrency import run_in_threadpool

from api.caller import Caller
from api.database import Database
from api.problems import not_found
from authority.policy_document import Verb
from runtime import clock
from streams.actors import ANONYMOUS, same_actor
from streams.ids import is_execution_id, minted_ms
from streams.vocabulary import Environment

#: How long the sink may take to write an execution that was accepted a moment ago, in seconds.
NEW_SECONDS: Final = 30.0
WAIT_SECONDS: Final = 3.0
_PAUSE_SECONDS: Final = 0.05
_ENVIRONMENTS: Final = get_args(Environment)

ExecutionId = Annotated[str, Path(description="id of an execution", max_length=64)]

_QUERY: Final = """
SELECT tenant, actor, environment, coalesce(approval_level, 0) AS level
FROM execution.executions WHERE execution_id = %(id)s
"""


@dataclass(frozen=True, slots=True)
class KnownExecution:
    """What decides who may see an execution and steer it."""

    execution_id: str
    tenant: str
    actor: str
    environment: Environment
    level: int

    def visible_to(self, caller: Caller) -> bool:
        """Whether the caller may read it."""
        visible = caller.rights.visible()
        own = same_actor(caller.actor, self.actor)
        kinds = visible.own if own else visible.others
        return self.tenant == caller.tenant and (self.environment, self.level) in kinds

    def allows(self, caller: Caller, verb: Verb) -> bool:
        """Whether the policy lets the caller do this to it."""
        if self.tenant != caller.tenant:
            return False
        return caller.rights.control(verb, self.environment, self.level, self.actor).allowed


async def find(database: Database, ident: str, caller: Caller, verb: Verb) -> KnownExecution:
    """The execution of this id, if the caller may see it, or do this to it; else Problem 404."""
    missing = not_found("execution of this id")
    if not is_execution_id(ident):
        raise missing
    until = clock.monotonic() + WAIT_SECONDS
    while (found := await run_in_threadpool(_read, database, ident)) is None:
        age = clock.now() - minted_ms(ident) / 1_000
        if not -NEW_SECONDS < age < NEW_SECONDS or clock.monotonic() > until:
            raise missing
        await asyncio.sleep(_PAUSE_SECONDS)
    if not found.visible_to(caller) and not found.allows(caller, verb):
        raise missing
    return found


def _read(database: Database, ident: str) -> KnownExecution | None:
    with database.connection() as connection:
        row = connection.execute(_QUERY, {"id": ident}).fetchone()
    if row is None or row["environment"] not in _ENVIRONMENTS:
        # What was rejected has no environment, and nothing can be done to it.
        return None
    actor = row["actor"] or ANONYMOUS
    return KnownExecution(ident, row["tenant"], actor, row["environment"], row["level"])
