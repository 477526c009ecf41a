"""The effects of tools, and the action class of each."""

from __future__ import annotations

from typing import Final, Literal

from streams.vocabulary import ActionClass

Effect = Literal["read", "modify", "destroy"]

#: Where a definition states no action class of its own.
ACTION_CLASS_OF: Final[dict[Effect, ActionClass]] = {
    "read": "read",
    "modify": "modify",
    "destroy": "modify",
}

#: From harmless to worst.
ORDER: Final[tuple[Effect, ...]] = ("read", "modify", "destroy")


def worst(*effects: Effect) -> Effect:
    """The worst of these effects."""
    return max(effects, key=ORDER.index)
