"""Actors: how the people and programs that ask for something are named, and when two are one.

A name is what a record claims; nothing here proves it.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

#: Nobody in particular: the actor of a record that names none.
ANONYMOUS: Final = "anonymous"

#: Printable ASCII without spaces, so that two names that look the same are the same. Anything else
#: is refused, never trimmed or replaced: a name that was changed on the way would prove nothing.
ACTOR: Final = r"^[A-Za-z0-9._@+:/-]{1,128}$"

Actor = Annotated[
    str,
    Field(
        pattern=ACTOR,
        description="letters, digits and . _ @ + - : /; upper and lower case are one actor",
    ),
]


def same_actor(one: str, other: str) -> bool:
    """Whether two names are one actor: upper and lower case make no difference."""
    return one.lower() == other.lower()
