"""Rights: what the policy lets a caller see and do; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

from authority.identity import Identity
from authority.policy import Control, Policy, Verdict
from authority.policy_document import Verb
from streams.actors import same_actor
from streams.vocabulary import Environment

_ENVIRONMENTS: Final[tuple[Environment, ...]] = get_args(Environment)
_LEVELS: Final = range(4)

#: The environment and the approval level of executions.
Kind = tuple[Environment, int]


@dataclass(frozen=True, slots=True)
class Visible:
    """Which executions of their tenant somebody may read."""

    own: frozenset[Kind]
    others: frozenset[Kind]

    @property
    def nothing(self) -> bool:
        """Whether that is none at all."""
        return not self.own and not self.others


@dataclass(frozen=True, slots=True)
class Rights:
    """Of one identity, by one policy."""

    policy: Policy
    identity: Identity

    def control(self, verb: Verb, environment: Environment, level: int, actor: str) -> Verdict:
        """Whether the identity may do this to an execution that this actor asked for."""
        own = same_actor(self.identity.actor, actor)
        return self.policy.decide(self.identity, Control(verb, environment, level, own))

    def visible(self) -> Visible:
        """The executions of the identity's tenant that it may read."""
        return Visible(own=self._readable(own=True), others=self._readable(own=False))

    def _readable(self, *, own: bool) -> frozenset[Kind]:
        return frozenset(
            (environment, level)
            for environment in _ENVIRONMENTS
            for level in _LEVELS
            if self.policy.decide(self.identity, Control("read", environment, level, own)).allowed
        )
