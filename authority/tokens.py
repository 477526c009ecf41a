"""Tokens: a compact JSON Web Signature over the digests of one record, or of several.

Protected header `{alg, kid, typ}`, claims `{iat, aud, topic, sha256}`; see docs/signatures.md. The
algorithm is the verifier's choice, never the token's: Ed25519, which RFC 8037 calls EdDSA and RFC
9864 Ed25519. Source: RFC 7515, RFC 7519, RFC 8725 (best practices).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import orjson
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from authority.identity import Forged
from authority.keys import PrivateKey, TrustedKey

#: Records that one token of ours covers: more would make the token of each record longer than
#: what it saves.
RECORDS_PER_TOKEN: Final = 16
#: Records that a token may cover.
MAX_RECORDS: Final = 32
#: Enough for MAX_RECORDS; checked before anything is parsed.
MAX_TOKEN_BYTES: Final = 4_096
TYPE: Final = "runstream+jwt"
ALGORITHM: Final = "Ed25519"
_NAMES: Final = (ALGORITHM, "EdDSA")


class _Ed25519Only(JWSRegistry):
    """Both names of the one algorithm; every other one is refused before a key is looked at."""

    def get_alg(self, name: str) -> Any:
        if name not in _NAMES:
            raise UnsupportedAlgorithmError(f"{name!r:.40} is not {' or '.join(_NAMES)}")
        return self.algorithms[ALGORITHM]


_REGISTRY: Final = _Ed25519Only()


class Claims(BaseModel):
    """What a token says; further claims are allowed and mean nothing."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)

    iat: float = Field(gt=0, lt=1e11, description="when it was signed, in Unix seconds")
    exp: float | None = Field(default=None, description="when it ends to count, in Unix seconds")
    aud: str = Field(max_length=128, description="id of the Kafka cluster")
    topic: str = Field(max_length=249, description="name of the topic, without a prefix")
    sha256: list[Annotated[str, Field(max_length=64)]] = Field(min_length=1, max_length=MAX_RECORDS)


@dataclass(frozen=True, slots=True)
class Token:
    """A token whose signature is good; whether it fits a record is another question."""

    key: TrustedKey
    claims: Claims
    digests: frozenset[str]

    @property
    def signed_at(self) -> int:
        """When it was signed, in Unix microseconds."""
        return round(self.claims.iat * 1_000_000)


def digest(value: bytes) -> str:
    """The SHA-256 of a record's value, as base64url without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(value).digest())[:43].decode()


def sign(key: PrivateKey, topic: str, cluster: str, values: Sequence[bytes], now: float) -> bytes:
    """One token for these values of records of one topic; `now` in Unix seconds.

    Raises ValueError for none, or for more than MAX_RECORDS.
    """
    if not 1 <= len(values) <= MAX_RECORDS:
        raise ValueError(f"{len(values)} values; a token covers 1 to {MAX_RECORDS}")
    header = {"alg": ALGORITHM, "kid": key.kid, "typ": TYPE}
    claims = {
        "iat": round(now, 6), "aud": cluster, "topic": topic,
        "sha256": [digest(value) for value in values],
    }  # fmt: skip
    payload = orjson.dumps(claims)
    return jws.serialize_compact(header, payload, key.pair, registry=_REGISTRY).encode()


def verify(token: str, find: Callable[[str], TrustedKey | None]) -> Token | Forged:
    """The token, if a trusted key has signed it; never raises."""
    if len(token) > MAX_TOKEN_BYTES:
        return Forged(f"the signature has {len(token)} characters; {MAX_TOKEN_BYTES} are allowed")
    try:
        opened = jws.extract_compact(token.encode(), registry=_REGISTRY)
        header = opened.headers()
        kid = header.get("kid")
        if header.get("typ") != TYPE:
            return Forged(f"the signature's header has not typ {TYPE}")
        if not isinstance(kid, str):
            return Forged("the signature's header names no key (kid)")
        _REGISTRY.get_alg(header["alg"])
        key = find(kid)
        if key is None:
            return Forged(f"the key {kid[:64]!r} is not trusted here")
        valid = jws.validate_compact(opened, key.public, registry=_REGISTRY)
        if not valid or not _is_canonical(token):
            return Forged(f"the signature is not one of the key {kid}")
        claims = Claims.model_validate_json(opened.payload or b"")
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        return Forged(f"the signature's claim {where or '?'}: {fault['msg']}")
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        return Forged(f"the signature is no compact JWS with EdDSA: {str(error)[:200]}")
    return Token(key, claims, frozenset(claims.sha256))


def _is_canonical(token: str) -> bool:
    """Whether no other text stands for the same signature: base64url leaves its last bits open."""
    text = token.rpartition(".")[2]
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return False
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == text
