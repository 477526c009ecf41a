"""On whose behalf the API asks: the person whose token it was shown, by the id of their key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field


@dataclass(slots=True)
class OnBehalfOf:
    """Said in what the API signs: the rights are those of the actor of this key, as it counts."""

    key: Annotated[str, Field(min_length=1, max_length=64, description="id of the actor's key")]


#: What its field means, in requests and commands alike.
MEANING: Final = "said by the API only, of whoever showed it a token"
