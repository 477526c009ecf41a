"""What a signature proves, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authority.hash_tree import Roots, leaf, tree
from authority.identity import Forged, Signer, refuse_signer
from authority.keys import KeyUse, PrivateKey
from authority.signing import RecordSigner
from authority.tokens import MAX_DIGESTS, MAX_TOKEN_BYTES, digest, sign, sign_all
from authority.verifier import (
    REMEMBERED,
    Proof,
    Verifier,
    Window,
    as_signer,
    refuse_command,
    refuse_report,
)
from tests.forging import Genuine, hs256, part, rs256
from tests.unit.authority.keyring import ALICE, CLUSTER, NETWORK, NOW, ROUTER, STRANGER, verifier

VALUE = b'{"tenant":"acme","actor":"alice","plan":{"steps":[{"tool":"df"}]}}'
TOPIC = "execution.requests"
DAY = Window.within(86_400)
CLAIMS: dict[str, Any] = {"iat": NOW, "aud": CLUSTER, "topic": TOPIC, "sha256": [digest(VALUE)]}
WHOLE = Genuine(ALICE, CLUSTER, TOPIC, VALUE, NOW)


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    return verifier(Path(tmp_path_factory.mktemp("keys")))


def token(key: PrivateKey = ALICE, **changed: Any) -> str:
    given = {"topic": TOPIC, "cluster": CLUSTER, "value": VALUE, "now": NOW, **changed}
    return sign(key, **given).decode()


def made_by_hand(header: dict[str, Any], claims: dict[str, Any] | None = None) -> str:
    """Header and claims as another library would write them, not signed yet."""
    return f"{part({'kid': ALICE.kid, 'typ': 'runstream+jwt', **header})}.{part(claims or CLAIMS)}"


def signed_by_hand(header: dict[str, Any], claims: dict[str, Any] | None = None) -> str:
    text = made_by_hand(header, claims)
    return f"{text}.{part(ALICE.pair.private_key.sign(text.encode()))}"  # type: ignore[union-attr]


def test_a_signature_proves_its_key(checks: Verifier) -> None:
    found = checks.check(VALUE, token(), TOPIC, NOW + 1, DAY)
    assert isinstance(found, Proof)
    assert as_signer(found) == Signer(ALICE.kid, "acme", "alice", round(NOW * 1e6))


def test_nothing_is_signed_without_a_signature(checks: Verifier) -> None:
    assert checks.check(VALUE, None, TOPIC, NOW) is None


@pytest.mark.parametrize("name", ["EdDSA", "Ed25519"])
def test_both_names_of_the_algorithm_are_taken(checks: Verifier, name: str) -> None:
    assert isinstance(checks.check(VALUE, signed_by_hand({"alg": name}), TOPIC, NOW), Proof)


def test_a_token_that_names_several_digests_covers_several_records(checks: Verifier) -> None:
    values = [b"%d" % number for number in range(MAX_DIGESTS)]
    claims = {**CLAIMS, "sha256": [digest(value) for value in values]}
    one = signed_by_hand({"alg": "EdDSA"}, claims)
    for value in values:
        assert isinstance(checks.check(value, one, TOPIC, NOW), Proof)
    assert isinstance(checks.check(b"33", one, TOPIC, NOW), Forged)


@given(st.integers(1, 130))
def test_one_signature_covers_many_records(checks: Verifier, count: int) -> None:
    values = [b"%d" % number for number in range(count)]
    tokens = [each.decode() for each in sign_all(ROUTER, TOPIC, CLUSTER, values, NOW)]
    assert len({each.partition("~")[0] for each in tokens}) == 1
    for value, each in zip(values, tokens, strict=True):
        assert isinstance(checks.check(value, each, TOPIC, NOW), Proof)
        assert isinstance(checks.check(value + b"!", each, TOPIC, NOW), Forged)
    for value, other in zip(values, [*tokens[1:], ""], strict=True):
        if other:
            assert isinstance(checks.check(value, other, TOPIC, NOW), Forged)


def test_a_node_of_a_hash_tree_is_no_value() -> None:
    one, other = sorted([leaf(b"1"), leaf(b"2")])
    node = b"\x01" + one + other
    found, (proof, _) = tree([leaf(node), leaf(b"3")])
    roots = Roots.of([found])
    assert roots.covers(b"3", leaf(node))
    assert not roots.covers(node, proof)


ALL_CHANGES = {
    "another topic": {"topic": "execution.control"},
    "another cluster": {"cluster": "cluster-2"},
    "another value": {"value": VALUE + b" "},
    "a key that nobody trusts": {"key": STRANGER},
    "too old": {"now": NOW - 86_400},
    "from the future": {"now": NOW + 121},
}


@pytest.mark.parametrize("changed", ALL_CHANGES.values(), ids=ALL_CHANGES)
def test_what_is_signed_for_something_else_proves_nothing(
    checks: Verifier, changed: dict[str, Any]
) -> None:
    assert isinstance(checks.check(VALUE, token(**changed), TOPIC, NOW, DAY), Forged)


FOREIGN = {
    "none": lambda: f"{made_by_hand({'alg': 'none'})}.",
    "None": lambda: f"{made_by_hand({'alg': 'None'})}.",
    "HS256 with the public key": lambda: hs256(WHOLE),
    "RS256": lambda: rs256(WHOLE),
    "no algorithm": lambda: signed_by_hand({}),
    "an algorithm that is no text": lambda: signed_by_hand({"alg": ["EdDSA"]}),
    "another type": lambda: signed_by_hand({"alg": "EdDSA", "typ": "JWT"}),
    "no key": lambda: signed_by_hand({"alg": "EdDSA", "kid": None}),
    "an unencoded payload": lambda: signed_by_hand({"alg": "EdDSA", "b64": False}),
    "a critical header": lambda: signed_by_hand({"alg": "EdDSA", "crit": ["exp"], "exp": 1}),
    "the key of the header": lambda: signed_by_hand({"alg": "EdDSA", "jku": "http://x/"})[:-4],
    "not a token": lambda: "a.b.c",
    "two parts": lambda: "a.b",
    "nothing": lambda: "",
    "not ASCII": lambda: "é.ü.ß",
    "deep JSON": lambda: f"{part(b'[' * 3_000)}..",
    "too long": lambda: f"{token()}{'A' * MAX_TOKEN_BYTES}",
    "JSON form": lambda: json.dumps({"payload": "", "signatures": []}),
}


@pytest.mark.parametrize("made", FOREIGN.values(), ids=FOREIGN)
def test_only_ed25519_by_the_key_of_the_verifier_counts(checks: Verifier, made: Any) -> None:
    assert isinstance(checks.check(VALUE, made(), TOPIC, NOW, DAY), Forged)


WRONG_CLAIMS = {
    "no time": {**CLAIMS, "iat": None},
    "a time that is text": {**CLAIMS, "iat": str(NOW)},
    "a time that is true": {**CLAIMS, "iat": True},
    "several clusters": {**CLAIMS, "aud": [CLUSTER, "cluster-2"]},
    "no digests": {**CLAIMS, "sha256": []},
    "one digest as text": {**CLAIMS, "sha256": digest(VALUE)},
    "too many digests": {**CLAIMS, "sha256": [digest(VALUE)] * (MAX_DIGESTS + 1)},
    "expired": {**CLAIMS, "exp": NOW - 1},
    "no object": [CLAIMS],
}


@pytest.mark.parametrize("claims", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS)
def test_claims_that_are_not_as_documented_prove_nothing(checks: Verifier, claims: Any) -> None:
    text = signed_by_hand({"alg": "EdDSA"}, claims)
    assert isinstance(checks.check(VALUE, text, TOPIC, NOW, DAY), Forged)


GENUINE = token()
ONE_OF_FIVE = sign_all(ALICE, TOPIC, CLUSTER, [VALUE, b"b", b"c", b"d", b"e"], NOW)[0].decode()


@pytest.mark.parametrize("genuine", [GENUINE, ONE_OF_FIVE], ids=["alone", "in a tree"])
@given(st.integers(0, len(VALUE) - 1), st.integers(1, 255))
def test_a_value_with_any_byte_changed_is_refused(
    genuine: str, checks: Verifier, place: int, change: int
) -> None:
    assert isinstance(checks.check(VALUE, genuine, TOPIC, NOW, DAY), Proof)
    value = bytearray(VALUE)
    value[place] ^= change
    assert isinstance(checks.check(bytes(value), genuine, TOPIC, NOW, DAY), Forged)


@pytest.mark.parametrize("genuine", [GENUINE, ONE_OF_FIVE], ids=["alone", "in a tree"])
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 127))
def test_a_signature_with_any_byte_changed_is_refused(
    genuine: str, checks: Verifier, place: float, change: int
) -> None:
    changed = bytearray(genuine.encode())
    changed[int(place * len(changed))] ^= change
    text = changed.decode("ascii", "replace")
    assert isinstance(checks.check(VALUE, text, TOPIC, NOW, DAY), Forged)


@given(st.text(max_size=300))
def test_reading_a_signature_never_raises(checks: Verifier, text: str) -> None:
    assert isinstance(checks.check(VALUE, text, TOPIC, NOW, DAY), Forged)


def test_a_key_counts_in_its_time_only(tmp_path: Path) -> None:
    begins, ends = (datetime.fromtimestamp(NOW + at, UTC) for at in (-10, 10))
    use = KeyUse(role="actor", actor="eve", not_before=begins, expires=ends)
    key = PrivateKey.generate(use)
    checks = verifier(tmp_path, key)
    for at, counts in ((-11, False), (0, True), (9, True), (10, False)):
        found = checks.check(VALUE, token(key), TOPIC, NOW + at)
        assert isinstance(found, Proof) is counts


def test_several_keys_of_one_actor_count_side_by_side(tmp_path: Path) -> None:
    second = PrivateKey.generate(ALICE.use)
    checks = verifier(tmp_path, ALICE, second)
    for key in (ALICE, second):
        signer = as_signer(checks.check(VALUE, token(key), TOPIC, NOW))
        assert isinstance(signer, Signer) and signer.actor == "alice"


def test_the_tokens_that_are_remembered_are_bounded(checks: Verifier) -> None:
    for number in range(REMEMBERED + 5):
        checks.check(VALUE, token(now=NOW - number), TOPIC, NOW)
    assert len(checks._known) == REMEMBERED


def test_only_a_router_s_key_signs_commands(checks: Verifier) -> None:
    for key, wrong in ((ROUTER, False), (ALICE, True), (NETWORK, True)):
        found = checks.check(VALUE, token(key), TOPIC, NOW)
        assert (refuse_command(found) is not None) is wrong
    assert refuse_command(None) == "it is not signed"


def test_only_an_executor_s_key_of_the_domain_signs_reports(checks: Verifier) -> None:
    for key, domain, wrong in (
        (NETWORK, "network", False), (NETWORK, None, False), (NETWORK, "automation", True),
        (ROUTER, "network", True), (ALICE, "network", True), (ALICE, None, True),
    ):  # fmt: skip
        found = checks.check(VALUE, token(key), TOPIC, NOW)
        assert (refuse_report(found, domain) is not None) is wrong
    assert refuse_report(None, "network") == "it is not signed"


def test_the_keys_of_processes_sign_no_requests(checks: Verifier) -> None:
    for key in (ROUTER, NETWORK):
        assert isinstance(as_signer(checks.check(VALUE, token(key), TOPIC, NOW)), Forged)


def test_a_record_names_the_tenant_and_the_actor_of_its_key() -> None:
    alice = Signer("k", "acme", "alice", 0)
    assert refuse_signer(alice, "acme", "Alice", required=True) is None
    assert refuse_signer(alice, "other", "alice", required=False) is not None
    assert refuse_signer(alice, "acme", "bob", required=False) is not None
    assert refuse_signer(None, "acme", "bob", required=False) is None
    assert refuse_signer(None, "acme", "bob", required=True) is not None
    assert refuse_signer(Forged("wrong"), "acme", "bob", required=False) == "wrong"


@pytest.mark.parametrize("remembered", [0.5, 60.0, 86_400.0])
def test_what_is_signed_ahead_does_not_outlast_what_is_remembered(remembered: float) -> None:
    window = Window.within(remembered)
    assert 0 < window.ahead <= 120 and window.age + window.ahead <= remembered


def test_no_token_of_a_process_is_older_than_the_one_before_it(checks: Verifier) -> None:
    clock = iter([NOW, NOW, NOW - 3_600, NOW + 1])
    signer = RecordSigner(ALICE, lambda: next(clock))
    signer.cluster = CLUSTER
    times = []
    for _ in range(4):
        found = checks.check(VALUE, signer.tokens(TOPIC, [VALUE])[0].decode(), TOPIC, NOW)
        assert isinstance(found, Proof)
        times.append(found.signed_at - round(NOW * 1_000_000))
    assert times == [0, 1, 2, 1_000_000]
