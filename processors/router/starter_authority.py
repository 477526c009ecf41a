"""Who may say something to the triggers that this process hosts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Message

from authority.identity import Forged, Signer
from authority.policy import Policy
from authority.verifier import Verifier, Window, as_signer, refuse_match
from streams.envelope import SIGNATURE, header, message_headers
from streams.topics import Topic


@dataclass(frozen=True, slots=True)
class StarterAuthority:
    """By the trusted keys, the policy that counts now, and the topic of the commands."""

    topic: Topic
    verifier: Verifier
    window: Window
    policy_now: Callable[[], Policy]
    require_signatures: bool

    @property
    def remembered(self) -> float:
        """For how many seconds a signature on a command counts."""
        return self.window.age + self.window.ahead

    def policy(self) -> Policy:
        """The policy that counts now."""
        return self.policy_now()

    def signer(self, message: Message, now: float) -> Signer | Forged | None:
        """Whose key signed a command; None where it is not signed."""
        token = header(message_headers(message), SIGNATURE)
        found = self.verifier.check(message.value(), token, self.topic.name, now, self.window)
        return as_signer(found)

    def refuse_match(self, message: Message, now: float) -> str | None:
        """Why a record is not that of a matcher, or None; one of any age counts.

        It may have waited for a router for days, and a copy of it is of a record that was decided.
        """
        token = header(message_headers(message), SIGNATURE)
        return refuse_match(self.verifier.check(message.value(), token, self.topic.name, now))
