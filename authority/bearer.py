"""Bearer tokens: what an actor shows to the API, made with its own key.

A compact JSON Web Signature whose header has the typ `runstream-api+jwt`: a signature of a record
has another one, so neither is ever taken for the other. The algorithm is the verifier's choice.
Source: RFC 6750, RFC 7519, RFC 8725 (best practices; 3.11 explicit typing).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from authority.identity import Forged
from authority.keys import PrivateKey, TrustedKey
from authority.tokens import ALGORITHM, REGISTRY, is_canonical
from authority.verifier import MAX_SKEW_SECONDS

TYPE: Final = "runstream-api+jwt"
#: Ours have 450; checked before anything is parsed.
MAX_CHARACTERS: Final = 4_096
#: How long a token may count, in seconds.
MAX_SECONDS: Final = 12 * 3_600


class Claims(BaseModel):
    """What a token says; further claims are allowed and mean nothing."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)

    iat: float = Field(gt=0, lt=1e11, description="when it was made, in Unix seconds")
    exp: float = Field(gt=0, lt=1e11, description="when it ends to count, in Unix seconds")
    aud: str = Field(max_length=128, description="the installation, RUNSTREAM_API_AUDIENCE")
    jti: str = Field(min_length=1, max_length=64, description="an id of its own")
    scope: Literal["read"] | None = Field(
        default=None, description="`read`: it changes nothing; absent: all that its actor may do"
    )


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token that counts: whose key made it, and what it says."""

    key: TrustedKey
    claims: Claims


def make(
    key: PrivateKey, audience: str, now: float, seconds: float, jti: str, *, read_only: bool
) -> str:
    """A token that counts for so many seconds from `now` (Unix seconds) on."""
    header = {"alg": ALGORITHM, "kid": key.kid, "typ": TYPE}
    claims: dict[str, object] = {"iat": now, "exp": now + seconds, "aud": audience, "jti": jti}
    if read_only:
        claims["scope"] = "read"
    return jws.serialize_compact(header, orjson.dumps(claims), key.pair, registry=REGISTRY)


def verify(
    text: str, find: Callable[[str], TrustedKey | None], audience: str, now: float
) -> Bearer | Forged:
    """The token in a text, if it counts at this moment (Unix seconds); never raises."""
    if len(text) > MAX_CHARACTERS:
        return Forged(f"the token has {len(text)} characters; {MAX_CHARACTERS} are allowed")
    try:
        opened = jws.extract_compact(text.encode(), registry=REGISTRY)
        header = opened.headers()
        kid = header.get("kid")
        if header.get("typ") != TYPE:
            return Forged(f"the token's header has not typ {TYPE}")
        if not isinstance(kid, str):
            return Forged("the token's header names no key (kid)")
        REGISTRY.get_alg(header["alg"])
        key = find(kid)
        if key is None:
            return Forged("the token's key is not trusted here")
        if not jws.validate_compact(opened, key.public, registry=REGISTRY) or not is_canonical(
            text
        ):
            return Forged("the token is not signed by the key that it names")
        claims = Claims.model_validate_json(opened.payload or b"")
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        return Forged(
            f"the token's claim {'.'.join(map(str, fault['loc'])) or '?'}: {fault['msg']}"
        )
    except (JoseError, ValueError, TypeError, RecursionError):
        return Forged("the token is no compact JWS with EdDSA")
    wrong = _refusal(key, claims, audience, now)
    return Bearer(key, claims) if wrong is None else Forged(wrong)


def _refusal(key: TrustedKey, claims: Claims, audience: str, now: float) -> str | None:
    if key.use.actor is None:
        return f"the token's key is that of a process ({key.use.role}), and asks for nothing"
    refusal = key.use.refusal(now)
    if refusal is not None:
        return f"the token's key does not count: {refusal}"
    if claims.aud != audience:
        return f"the token is for {claims.aud[:64]!r}, and this is {audience!r}"
    if now >= claims.exp:
        return "the token has expired: make another one with runstream token"
    if claims.iat - now > MAX_SKEW_SECONDS:
        return f"the token is {claims.iat - now:.0f} s ahead of the clock here"
    if claims.exp - claims.iat > MAX_SECONDS:
        return f"the token counts for more than {MAX_SECONDS // 3_600} hours"
    return None
