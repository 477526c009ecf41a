"""A use of a secret: who asks for it and for what; and why there is no usable value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from streams.reports import SecretUse

#: Of `drivers.errors`: there is none; it may not be used here; its back end does not answer.
SecretFault = Literal["secret_missing", "secret_denied", "secret_unavailable"]
#: In the place of a rule, where the source of a secret refuses it and not a rule of the executor.
SOURCE: Final = "source"


class SecretError(Exception):
    """A reference has no usable secret; the message is one sentence without any value."""

    def __init__(
        self,
        message: str,
        error_class: SecretFault = "secret_missing",
        rule: str | None = None,
    ) -> None:
        """Only `secret_unavailable` may pass by itself; `rule` is the one that denied the use."""
        super().__init__(message)
        self.error_class: SecretFault = error_class
        self.rule = rule
        #: What was denied, once that is known: the decision is reported by it.
        self.denied: SecretUse | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """What a secret is wanted for."""

    tenant: str
    #: Whom the command names.
    actor: str
    tool: str
    environment: str
    execution: str
    step: str
    attempt: int
    #: The parameter, or `ssh_key`, `ssh_password`, `login` for the login of an asset.
    parameter: str
    #: The host that gets it, in lower case without a port; None where that is not known before.
    destination: str | None = None
    #: What is connected to for it, where that is not the destination itself: an asset's address.
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """A secret, and the rule that allowed its use."""

    value: str
    rule: str

    def __repr__(self) -> str:
        """Never the value."""
        return f"Resolved(rule={self.rule!r})"
