"""The end of an execution counts as signed where a router's key that was trusted then signed it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from authority.key_files import write_trusted
from authority.keys import KeyUse, PrivateKey
from authority.tokens import sign_all
from console.anchors import anchor_of
from tests.unit.authority.keyring import ALICE, CLUSTER, NOW, ROUTER, STRANGER

CHAINS = ["c" * 43, "d" * 43]


def signed(
    key: PrivateKey, topic: str = "execution.events", at: float = NOW, which: int = 0
) -> str:
    values = [chain.encode() for chain in CHAINS]
    return sign_all(key, topic, CLUSTER, values, at)[which].decode()


def test_a_signature_of_the_router_covers_the_ends_of_its_batch_and_no_other(
    tmp_path: Path,
) -> None:
    past = datetime.fromtimestamp(NOW, UTC) + timedelta(days=1)
    former = PrivateKey.generate(KeyUse(role="router", expires=past))
    keys = (ROUTER, ALICE, former)
    write_trusted(tmp_path / "trusted.jwks", {key.kid: key.trusted for key in keys})
    anchor = anchor_of(tmp_path / "trusted.jwks")
    for which, chain in enumerate(CHAINS):
        assert anchor(chain, signed(ROUTER, which=which)) is None
    # Its end is judged by the time at which it was signed, however long ago that is.
    assert anchor(CHAINS[0], signed(former)) is None
    late = anchor(CHAINS[0], signed(former, at=NOW + 7 * 86_400))
    assert late is not None and "did not count then" in late
    assert anchor("e" * 43, signed(ROUTER)) == "the signature is for something else"
    other = signed(ROUTER, "steps.test")
    assert anchor(CHAINS[0], other) == "the signature is for something else"
    assert anchor(CHAINS[0], None) == "it is not signed"
    for key, why in ((ALICE, "is not that of a router"), (STRANGER, "is not trusted here")):
        found = anchor(CHAINS[0], signed(key))
        assert found is not None and why in found
    assert anchor(CHAINS[0], "nonsense") is not None
