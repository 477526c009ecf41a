"""Authentication: whose request it is, by a bearer token or by the cookie that holds one.

Source: RFC 6750 (bearer tokens), RFC 6265bis (SameSite cookies).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from api.caller import Caller
from api.guard import HOOKS_BEGIN, Application, Receive, Scope, Send
from api.problems import Problem, forbidden, response, unauthorized
from api.rights import Rights
from authority import bearer
from authority.bearer import Bearer
from authority.identity import Forged, Identity
from authority.policy_file import PolicyFile
from authority.trust import TrustedKeys
from runtime import clock

#: The prefix keeps other hosts, and pages without TLS, from setting it; a browser takes it over
#: TLS only.
SECURE_COOKIE: Final = "__Host-runstream"
#: Over plain HTTP, which is for this machine only.
PLAIN_COOKIE: Final = "runstream"
#: What anybody may read: the description of the API holds nothing of what it serves.
PUBLIC: Final = frozenset({"/v1/openapi.json"})
_API: Final = "/v1"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Tokens:
    """What decides whether a token counts now, and what its actor may do."""

    trusted: TrustedKeys
    policies: PolicyFile
    audience: str

    def caller(self, token: str) -> Caller | Forged:
        """Who shows this token; a key that was revoked counts no more within two seconds."""
        self.trusted.refresh()
        found = bearer.verify(token, self.trusted.find, self.audience, clock.now())
        return found if isinstance(found, Forged) else self._caller(found)

    def counts(self, caller: Caller) -> bool:
        """Whether the caller's token still counts: for whoever holds a connection for long."""
        self.trusted.refresh()
        now = clock.now()
        found = self.trusted.find(caller.identity.kid or "")
        return found is not None and found.use.refusal(now) is None and now < caller.expires_at

    def _caller(self, found: Bearer) -> Caller:
        use = found.key.use
        identity = Identity(use.tenant, use.actor or "", found.key.kid)
        return Caller(
            identity,
            Rights(self.policies.current, identity),
            read_only=found.claims.scope == "read",
            expires_at=found.claims.exp,
        )


class Authentication:
    """Around the routes: says who calls, and lets nobody else into the API."""

    def __init__(self, application: Application, tokens: Tokens) -> None:
        """`application` is the rest of the API."""
        self._application = application
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the caller of a request into its state, or answer that it counts for nobody's."""
        problem = self._recognise(scope)
        if problem is not None:
            await response(problem, Request(scope))(scope, receive, send)
            return
        await self._application(scope, receive, send)

    def _recognise(self, scope: Scope) -> Problem | None:
        if scope["path"].startswith(HOOKS_BEGIN):
            # Whoever sends there proves who it is by other means, and no token counts.
            return None
        headers = Headers(scope=scope)
        given = headers.get("authorization")
        cookie = None if given is not None else _cookie(headers)
        if given is None and scope["method"] not in _SAFE:
            foreign = _foreign(headers, required=cookie is not None)
            if foreign is not None:
                return foreign
        token = cookie if given is None else _token(given)
        why = "send a token: Authorization: Bearer TOKEN, as `runstream token` makes"
        if token is not None:
            found = self._tokens.caller(token)
            if isinstance(found, Caller):
                scope.setdefault("state", {})["caller"] = found
                return None
            why = found.message
        path = scope["path"]
        within = path == _API or path.startswith(f"{_API}/")
        if not within or path in PUBLIC:
            return None
        return unauthorized(why)


def _token(given: str) -> str | None:
    scheme, _, token = given.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _cookie(headers: Headers) -> str | None:
    found = cookie_parser(headers.get("cookie", ""))
    return found.get(SECURE_COOKIE) or found.get(PLAIN_COOKIE) or None


def _foreign(headers: Headers, *, required: bool) -> Problem | None:
    """Why a request of a browser that changes something is not from a page of this host."""
    origin = headers.get("origin")
    if origin is None and not required:
        return None
    host = headers.get("host", "")
    if origin is not None and host and urlsplit(origin).netloc.lower() == host.lower():
        return None
    return forbidden("a request with a cookie must come from a page of this host (Origin)")


def is_local(request: Request) -> bool:
    """Whether the browser reaches this host by a name of its own machine."""
    return (request.url.hostname or "") in _LOOPBACK


def remember(response: Response, request: Request, token: str, caller: Caller) -> None:
    """Let the browser of a person who has shown this token send it along until it expires."""
    plain = request.url.scheme == "http" and is_local(request)
    response.set_cookie(
        PLAIN_COOKIE if plain else SECURE_COOKIE,
        token,
        max_age=max(int(caller.expires_at - clock.now()), 0),
        path="/",
        secure=not plain,
        httponly=True,
        samesite="strict",
    )


def forget(response: Response) -> None:
    """Let the browser send no token any more."""
    for name, secure in ((SECURE_COOKIE, True), (PLAIN_COOKIE, False)):
        response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="strict")
