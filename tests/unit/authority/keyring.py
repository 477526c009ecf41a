"""Keys of tests: made once, since a law about signatures needs many records and few keys."""

from __future__ import annotations

from pathlib import Path

from authority.key_files import write_trusted
from authority.keys import KeyUse, PrivateKey
from authority.trust import TrustedKeys
from authority.verifier import Verifier

CLUSTER = "cluster-1"
NOW = 1_795_000_000.0

ALICE = PrivateKey.generate(KeyUse(role="actor", tenant="acme", actor="alice"))
BOB = PrivateKey.generate(KeyUse(role="actor", tenant="acme", actor="bob"))
ROUTER = PrivateKey.generate(KeyUse(role="router"))
NETWORK = PrivateKey.generate(KeyUse(role="executor", domains=("network",)))
#: Known to nobody.
STRANGER = PrivateKey.generate(KeyUse(role="router"))


def trusting(folder: Path, *keys: PrivateKey) -> TrustedKeys:
    """These keys in a file of the test's own; a fault fails the test."""
    write_trusted(folder / "trusted.jwks", {key.kid: key.trusted for key in keys})

    def fail(fault: str) -> None:
        raise AssertionError(fault)

    return TrustedKeys(folder / "trusted.jwks", fail)


def verifier(folder: Path, *keys: PrivateKey) -> Verifier:
    """A verifier that trusts these keys, or all of them."""
    made = Verifier(trusting(folder, *(keys or (ALICE, BOB, ROUTER, NETWORK))))
    made.cluster = CLUSTER
    return made
