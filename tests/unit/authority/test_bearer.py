"""Bearer tokens: which count, and that nothing else does."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey

from authority import bearer
from authority.bearer import MAX_SECONDS, TYPE, Bearer
from authority.identity import Forged
from authority.keys import KeyUse, PrivateKey, TrustedKey
from authority.tokens import REGISTRY, sign, verify

NOW = 1_795_000_000.0
ANN = PrivateKey.generate(KeyUse(role="actor", tenant="acme", actor="ann"))
EVE = PrivateKey.generate(KeyUse(role="actor", actor="eve"))
ROUTER = PrivateKey.generate(KeyUse(role="router"))
API = PrivateKey.generate(KeyUse(role="api"))
PAST = datetime.fromtimestamp(NOW - 1, UTC)
LEFT = PrivateKey.generate(KeyUse(role="actor", actor="left", expires=PAST))
TRUSTED = {one.kid: one.trusted for one in (ANN, ROUTER, API, LEFT)}


def find(kid: str) -> TrustedKey | None:
    return TRUSTED.get(kid)


def check(text: str, now: float = NOW) -> Bearer | Forged:
    return bearer.verify(text, find, "here", now)


def made(key: PrivateKey = ANN, **claims: Any) -> str:
    said = {"iat": NOW, "exp": NOW + 60, "aud": "here", "jti": "x", **claims}
    header = {"alg": "Ed25519", "kid": key.kid, "typ": TYPE}
    kept = {name: value for name, value in said.items() if value is not None}
    return jws.serialize_compact(header, orjson.dumps(kept), key.pair, registry=REGISTRY)


def headed(alg: str, key: Any, kid: str = ANN.kid, typ: str | None = TYPE) -> str:
    header = {"alg": alg, "kid": kid, **({} if typ is None else {"typ": typ})}
    said = {"iat": NOW, "exp": NOW + 60, "aud": "here", "jti": "x"}
    if alg == "EdDSA":
        return jws.serialize_compact(header, orjson.dumps(said), key, registry=REGISTRY)
    return jws.serialize_compact(header, orjson.dumps(said), key, algorithms=[alg])


def unsigned() -> str:
    """A token that says that it is not signed, and is not."""
    header = {"alg": "none", "kid": ANN.kid, "typ": TYPE}
    said = orjson.dumps({"iat": NOW, "exp": NOW + 60, "aud": "here", "jti": "x"})
    parts = (orjson.dumps(header), said)
    return ".".join(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in parts) + "."


def test_a_token_counts_until_it_ends() -> None:
    token = bearer.make(ANN, "here", NOW, 60, "id", read_only=False)
    found = check(token)
    assert isinstance(found, Bearer)
    assert (found.key.use.actor, found.key.use.tenant, found.claims.scope) == ("ann", "acme", None)
    assert isinstance(check(token, NOW + 59.9), Bearer)
    assert isinstance(check(token, NOW + 60), Forged)
    read = check(bearer.make(ANN, "here", NOW, 60, "id", read_only=True))
    assert isinstance(read, Bearer) and read.claims.scope == "read"


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (lambda: made(exp=None), "exp"),
        (lambda: made(iat=None), "iat"),
        (lambda: made(jti=None), "jti"),
        (lambda: made(aud="there"), "is for 'there'"),
        (lambda: made(exp=NOW + MAX_SECONDS + 1), "more than 12 hours"),
        (lambda: made(iat=NOW + 600, exp=NOW + 660), "ahead of the clock"),
        (lambda: made(iat=NOW - MAX_SECONDS, exp=NOW), "has expired"),
        (lambda: made(scope="all"), "scope"),
        (lambda: made(exp="never"), "exp"),
        (lambda: made(EVE), "is not trusted here"),
        (lambda: made(LEFT), "does not count"),
        (lambda: made(ROUTER), "that of a process (router)"),
        (lambda: made(API), "that of a process (api)"),
        (lambda: headed("EdDSA", ANN.pair, typ=None), "typ"),
        (lambda: headed("EdDSA", ANN.pair, typ="runstream+jwt"), "typ"),
        (lambda: headed("EdDSA", EVE.pair), "not signed by the key"),
        (lambda: headed("HS256", OctKey.import_key(ANN.trusted.as_jwk()["x"])), "EdDSA"),
        (lambda: headed("ES256", ECKey.generate_key("P-256")), "EdDSA"),
        (lambda: "eyJhbGciOiJub25lIn0.e30.", "typ"),
        (lambda: unsigned(), "EdDSA"),
        (lambda: sign(ANN, "execution.requests", "here", b"x", NOW).decode(), "typ"),
        (lambda: made() + "A", ""),
        (lambda: made()[:-1], ""),
        (lambda: made() + "~AAAA", ""),
        (lambda: "", ""),
        (lambda: "a.b.c", ""),
        (lambda: "é" * 100, ""),
        (lambda: "\ud800", ""),
        (lambda: "x" * 5_000, "5000 characters"),
    ],
)
def test_nothing_else_does(token: Callable[[], str], why: str) -> None:
    found = check(token())
    assert isinstance(found, Forged)
    assert why in found.message and len(found.message) < 300


def test_both_names_of_the_algorithm_are_one() -> None:
    assert isinstance(check(headed("EdDSA", ANN.pair)), Bearer)


def test_a_token_signs_no_record() -> None:
    found = verify(made(topic="execution.requests", sha256=["x"]), find)
    assert isinstance(found, Forged) and "typ" in found.message
