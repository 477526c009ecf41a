"""Who may command schedules and triggers: by signature, by what was followed before, by policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from confluent_kafka import Message

from authority.identity import (
    Forged,
    Identity,
    OfKey,
    Said,
    Signer,
    behind,
    identify,
    refuse_copy,
    refuse_signer,
    unknown_key,
)
from authority.policy import Control, Policy
from authority.verifier import Proof, Window, as_origin
from runtime.kafka.hosted import Fault
from streams.envelope import SIGNATURE, header, message_headers
from streams.starter_commands import StarterCommand
from streams.topics import Topic

#: Commands to one schedule or trigger that are remembered as followed.
MAX_FOLLOWED: Final = 20
_MAX_ID: Final = 128


class Verifies(Protocol):
    """What verifies signatures; see authority/verifier.py."""

    def check(
        self,
        value: bytes | None,
        token: str | None,
        topic: str,
        now: float,
        window: Window | None = None,
    ) -> Proof | Forged | None:
        """Who signed the value of a record of this topic; None where nobody did."""


class Remembers(Protocol):
    """The state of a schedule or trigger, as far as it remembers which commands were followed."""

    #: By each clock, when the last command that was followed was signed, in Unix microseconds.
    signed: dict[str, int]
    #: The ids of the last commands that were followed.
    followed: list[str]


@dataclass(frozen=True, slots=True)
class Commander:
    """Who gave a command that may be followed, and the id of its record."""

    identity: Identity
    signer: Signer | None
    ident: str | None


@dataclass(frozen=True, slots=True)
class CommandAuthority:
    """Whose commands count: by the trusted keys, and the policy that counts now."""

    verifier: Verifies
    window: Window
    policy: Callable[[], Policy]
    #: Whether commands without a signature are refused before the policy is asked.
    signed_only: bool = False
    #: Whose the key is on behalf of which the API asks.
    of_key: OfKey = unknown_key

    @property
    def remembered(self) -> float:
        """For how many seconds a signature on a command may count, here or elsewhere."""
        return self.window.age + self.window.ahead

    def commander(
        self,
        command: StarterCommand,
        message: Message,
        topic: Topic,
        state: Remembers | None,
        now: float,
    ) -> Commander | Fault:
        """Who gave a command of an operator, or why it does not count."""
        signed = as_origin(self.proof(message, topic, now, self.window))
        said = Said(on_behalf_of=command.on_behalf_of)
        signer = behind(signed, said, self.of_key, now)
        wrong = refuse_signer(signer, command.tenant, command.actor, required=self.signed_only)
        if wrong is not None or isinstance(signer, Forged):
            return Fault("not_authentic", str(wrong))
        copied = None if state is None else refuse_copy(signer, state.signed)
        if copied is not None:
            return Fault("not_authentic", copied)
        identity = identify(signer, command.tenant, command.actor)
        verdict = self.policy().decide(identity, Control("apply", "prod", 0, True))
        if not verdict.allowed:
            return Fault("forbidden", verdict.message)
        return Commander(identity, signer, header(message_headers(message), "ce_id"))

    def proof(
        self, message: Message, topic: Topic, now: float, window: Window | None = None
    ) -> Proof | Forged | None:
        """Who signed a record; without a window at any time, since it may have waited for days."""
        token = header(message_headers(message), SIGNATURE)
        return self.verifier.check(message.value(), token, topic.name, now, window)

    def remember(self, state: Remembers, by: Commander, now: float) -> None:
        """Remember that a command was followed, for as long as a copy of it could count."""
        if by.signer is not None:
            oldest = (now - self.window.age) * 1_000_000
            kept = {kid: at for kid, at in state.signed.items() if at >= oldest}
            state.signed = {**kept, by.signer.clock: by.signer.signed_at}
        if by.ident is not None:
            state.followed = [*state.followed, by.ident[:_MAX_ID]][-MAX_FOLLOWED:]
