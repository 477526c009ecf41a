"""Signatures as somebody would forge them who may write to every topic."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from authority.keys import PrivateKey
from authority.tokens import digest, sign

#: In every value that is forged, so that a byte of it can be changed.
NOTE: Final = {"note": "x"}


@dataclass(frozen=True)
class Genuine:
    """A record and the key that should sign it."""

    key: PrivateKey
    cluster: str
    topic: str
    value: bytes
    now: float

    def token(self, **changed: Any) -> str:
        """A good signature, but for what is changed."""
        one = replace(self, **changed)
        return sign(one.key, one.topic, one.cluster, one.value, one.now).decode()

    def written(self, header: dict[str, Any], **claims: Any) -> str:
        """Header and claims as another library would write them, not signed yet."""
        said = {
            "iat": self.now, "aud": self.cluster, "topic": self.topic,
            "sha256": [digest(self.value)], **claims,
        }  # fmt: skip
        return f"{part({'kid': self.key.kid, 'typ': 'runstream+jwt', **header})}.{part(said)}"

    def signed(self, header: dict[str, Any], **claims: Any) -> str:
        """The same, signed by the key."""
        text = self.written(header, **claims)
        pair: Any = self.key.pair.private_key
        return f"{text}.{part(pair.sign(text.encode()))}"


def part(data: Any) -> str:
    """One part of a compact JWS."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def hs256(one: Genuine) -> str:
    """Signed with the public key as if it were a shared secret."""
    text = one.written({"alg": "HS256"})
    secret = json.dumps(one.key.trusted.as_jwk()).encode()
    return f"{text}.{part(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def rs256(one: Genuine) -> str:
    """With the forger's own key in the header."""
    key = rsa.generate_private_key(65_537, 2_048)
    numbers = key.public_key().public_numbers()
    jwk = {"kty": "RSA", "e": "AQAB", "n": part(numbers.n.to_bytes(256, "big"))}
    text = one.written({"alg": "RS256", "jwk": jwk})
    return f"{text}.{part(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


Forged = tuple[bytes, str | None]


def _signature(made: Callable[[Genuine], str | None]) -> Callable[[Genuine], Forged]:
    return lambda one: (one.value, made(one))


#: What is sent in the place of a genuine record: its value and its signature.
FORMS: Final[dict[str, Callable[[Genuine], Forged]]] = {
    "not signed": _signature(lambda one: None),
    "no signature at all": _signature(lambda one: "forged"),
    "a key that nobody trusts": _signature(
        lambda one: one.token(key=PrivateKey.generate(one.key.use))
    ),
    "none": _signature(lambda one: f"{one.written({'alg': 'none'})}."),
    "HS256 with the public key": _signature(hs256),
    "RS256": _signature(rs256),
    "another topic": _signature(lambda one: one.token(topic="execution.output")),
    "another cluster": _signature(lambda one: one.token(cluster="another")),
    "expired": _signature(lambda one: one.signed({"alg": "EdDSA"}, exp=one.now - 1)),
    # Where only a window counts: with requests and control messages.
    "too old": _signature(lambda one: one.token(now=one.now - 25 * 3_600)),
    "signed ahead": _signature(lambda one: one.token(now=one.now + 300)),
    "one byte changed": lambda one: (one.value.replace(b'"note":"x"', b'"note":"y"'), one.token()),
}
