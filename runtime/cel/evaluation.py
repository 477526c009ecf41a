"""The interface between expressions and what evaluates them; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

MAX_VALUE_BYTES: Final = 256 * 1024


class LimitExceeded(Exception):
    """An expression used more time or memory than it may; the message is one sentence."""

    def __init__(self, what: str) -> None:
        """`what` names the limit."""
        super().__init__(f"it exceeds the limit of {what}: look at less, or at one part at a time")


class Refused(Exception):
    """The text is not CEL, or cannot be evaluated now; the message is one sentence."""


@dataclass(slots=True)
class Spent:
    """What the expressions of one decision have taken so far."""

    #: Time of the evaluator.
    seconds: float = 0.0
    #: Plain paths that were looked up.
    lookups: int = 0


class Evaluator(Protocol):
    """Compiles and evaluates CEL within limits."""

    def ask(self, text: str, context: dict[str, Any] | None, spent: Spent) -> Any:
        """The value of an expression; without a context None, once it is compiled.

        Adds its time to `spent`. Raises Refused or LimitExceeded.
        """
