"""Caller: who sends a request to the API, proven by a bearer token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request

from api.problems import forbidden, unauthorized
from api.rights import Rights
from authority.identity import Identity

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Caller:
    """The actor behind a request, by the key that signed the token."""

    identity: Identity
    rights: Rights
    #: Whether the token is for reading only.
    read_only: bool
    #: When the token ends to count, in Unix seconds.
    expires_at: float = float("inf")

    @property
    def tenant(self) -> str:
        """The tenant of the key: nobody sees or does anything in another one."""
        return self.identity.tenant

    @property
    def actor(self) -> str:
        """The actor of the key."""
        return self.identity.actor


def find_caller(request: Request) -> Caller:
    """Who sends this request; raises Problem 401 where that is not proven.

    A token for reading changes nothing: for other methods than GET it raises Problem 403.
    """
    found = getattr(request.state, "caller", None)
    if not isinstance(found, Caller):
        raise unauthorized("send a token: Authorization: Bearer TOKEN, as `runstream token` makes")
    if found.read_only and request.method not in _SAFE:
        raise forbidden("the token is for reading only: make one without --read")
    return found


CurrentCaller = Annotated[Caller, Depends(find_caller)]
