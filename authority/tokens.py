"""Tokens: a compact JSON Web Signature over the digests of one record, or of several.

Protected header `{alg, kid, typ}`, claims `{iat, aud, topic, sha256}`; see docs/signatures.md. The
algorithm is the verifier's choice, never the token's: Ed25519, which RFC 8037 calls EdDSA and RFC
9864 Ed25519. Source: RFC 7515, RFC 7519, RFC 8725 (best practices).

Signing costs more than making a record, so a process signs the root of a hash tree over many
records; behind the signature of each stands `~` and its proof, in base64url without padding.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import orjson
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from authority import hash_tree
from authority.identity import Forged
from authority.keys import PrivateKey, TrustedKey

#: Records below one signature of ours: twice as many would make each record 43 bytes longer.
RECORDS_PER_SIGNATURE: Final = 64
#: Digests that a token may name.
MAX_DIGESTS: Final = 32
#: Enough for MAX_DIGESTS; checked before anything is parsed.
MAX_TOKEN_BYTES: Final = 4_096
_PROOF: Final = "~"
#: From base64url to base64; what is only in the latter stands for nothing.
_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/???")
TYPE: Final = "runstream+jwt"
ALGORITHM: Final = "Ed25519"
_NAMES: Final = (ALGORITHM, "EdDSA")


class _Ed25519Only(JWSRegistry):
    """Both names of the one algorithm; every other one is refused before a key is looked at."""

    def get_alg(self, name: str) -> Any:
        if name not in _NAMES:
            raise UnsupportedAlgorithmError(f"{name!r:.40} is not {' or '.join(_NAMES)}")
        return self.algorithms[ALGORITHM]


#: The only algorithm, for signatures of records and for bearer tokens.
REGISTRY: Final = _Ed25519Only()


class Claims(BaseModel):
    """What a token says; further claims are allowed and mean nothing."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)

    iat: float = Field(gt=0, lt=1e11, description="when it was signed, in Unix seconds")
    exp: float | None = Field(default=None, description="when it ends to count, in Unix seconds")
    aud: str = Field(max_length=128, description="id of the Kafka cluster")
    topic: str = Field(max_length=249, description="name of the topic, without a prefix")
    sha256: list[Annotated[str, Field(max_length=64)]] = Field(min_length=1, max_length=MAX_DIGESTS)


@dataclass(frozen=True, slots=True)
class Token:
    """A token whose signature is good; whether it fits a record is another question."""

    key: TrustedKey
    claims: Claims
    roots: hash_tree.Roots

    @property
    def signed_at(self) -> int:
        """When it was signed, in Unix microseconds."""
        return round(self.claims.iat * 1_000_000)


def digest(value: bytes) -> str:
    """The SHA-256 of a record's value, as base64url without padding."""
    return _url64(hash_tree.leaf(value))


def sign(key: PrivateKey, topic: str, cluster: str, value: bytes, now: float) -> bytes:
    """The token of one record; `now` in Unix seconds."""
    return _signed(key, topic, cluster, hash_tree.leaf(value), now).encode()


def sign_all(
    key: PrivateKey, topic: str, cluster: str, values: Sequence[bytes], now: float
) -> list[bytes]:
    """The tokens of these records of one topic, at least one, in their order: one signature."""
    root, proofs = hash_tree.tree([hash_tree.leaf(value) for value in values])
    signed = _signed(key, topic, cluster, root, now)
    return [(f"{signed}{_PROOF}{_url64(proof)}" if proof else signed).encode() for proof in proofs]


def _signed(key: PrivateKey, topic: str, cluster: str, covered: bytes, now: float) -> str:
    header = {"alg": ALGORITHM, "kid": key.kid, "typ": TYPE}
    claims = {"iat": round(now, 6), "aud": cluster, "topic": topic, "sha256": [_url64(covered)]}
    return jws.serialize_compact(header, orjson.dumps(claims), key.pair, registry=REGISTRY)


def parts(token: str) -> tuple[str, str] | Forged:
    """The signature of a token, and the proof behind it, empty where there is none."""
    if len(token) > MAX_TOKEN_BYTES:
        return Forged(f"the signature has {len(token)} characters; {MAX_TOKEN_BYTES} are allowed")
    signed, _, proof = token.partition(_PROOF)
    return signed, proof


def covers(token: Token, proof: str, value: bytes) -> bool:
    """Whether the token, with this proof behind it, is for this value."""
    siblings = _bytes_of(proof)
    if siblings is None or len(siblings) % hash_tree.SIZE:
        return False
    return token.roots.covers(value, siblings)


def verify(signed: str, find: Callable[[str], TrustedKey | None]) -> Token | Forged:
    """The token of what `parts` gave as its signature, if a trusted key made it; never raises."""
    try:
        opened = jws.extract_compact(signed.encode(), registry=REGISTRY)
        header = opened.headers()
        kid = header.get("kid")
        if header.get("typ") != TYPE:
            return Forged(f"the signature's header has not typ {TYPE}")
        if not isinstance(kid, str):
            return Forged("the signature's header names no key (kid)")
        REGISTRY.get_alg(header["alg"])
        key = find(kid)
        if key is None:
            return Forged(f"the key {kid[:64]!r} is not trusted here")
        valid = jws.validate_compact(opened, key.public, registry=REGISTRY)
        if not valid or not is_canonical(signed):
            return Forged(f"the signature is not one of the key {kid}")
        claims = Claims.model_validate_json(opened.payload or b"")
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        return Forged(f"the signature's claim {where or '?'}: {fault['msg']}")
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        return Forged(f"the signature is no compact JWS with EdDSA: {str(error)[:200]}")
    found = [_bytes_of(text) for text in claims.sha256]
    roots = hash_tree.Roots.of(one for one in found if one is not None)
    return Token(key, claims, roots)


def is_canonical(signed: str) -> bool:
    """Whether no other text stands for the same signature."""
    return _bytes_of(signed.rpartition(".")[2]) is not None


def _bytes_of(text: str) -> bytes | None:
    """What a base64url text stands for; None where another text is its canonical one.

    The last character has bits that mean nothing.
    """
    try:
        padded = text.encode("ascii").translate(_STANDARD) + b"=" * (-len(text) % 4)
        found = binascii.a2b_base64(padded)
    except ValueError:
        return None
    return found if binascii.b2a_base64(found, newline=False) == padded else None


def _url64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
