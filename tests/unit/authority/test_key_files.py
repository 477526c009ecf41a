"""Files of keys: who may read them, what stands in them, and how trust changes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from authority import process
from authority.key_files import changing_trusted, read_private, read_trusted, write_private
from authority.key_folder import KeyFolder, actor_name
from authority.keys import KeyFault, KeyUse, PrivateKey
from authority.trust import CHECK_SECONDS, TrustedKeys
from streams.topics import DOMAINS
from tests.unit.authority.keyring import ALICE, BOB, ROUTER, trusting


def test_a_private_key_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_private(tmp_path / "keys" / "a.jwk", ALICE)
    found = read_private(tmp_path / "keys" / "a.jwk")
    assert (found.kid, found.use) == (ALICE.kid, ALICE.use)
    assert (tmp_path / "keys" / "a.jwk").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    with pytest.raises(KeyFault, match="exists already"):
        write_private(tmp_path / "keys" / "a.jwk", BOB)


def test_a_private_key_does_not_show_itself() -> None:
    secret = ALICE.as_jwk()["d"]
    assert secret not in repr(ALICE) and secret not in repr(ALICE.pair)
    assert "d" not in ALICE.trusted.as_jwk()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o660])
def test_a_private_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    write_private(tmp_path / "a.jwk", ALICE)
    (tmp_path / "a.jwk").chmod(mode)
    with pytest.raises(KeyFault, match="chmod 600"):
        read_private(tmp_path / "a.jwk")


def test_trusted_keys_that_others_can_change_are_refused(tmp_path: Path) -> None:
    trusting(tmp_path, ALICE)
    (tmp_path / "trusted.jwks").chmod(0o646)
    with pytest.raises(KeyFault, match="chmod go-w"):
        read_trusted(tmp_path / "trusted.jwks")


def jwks(**changed: object) -> str:
    return json.dumps({"keys": [{**ALICE.trusted.as_jwk(), **changed}]})


WRONG = {
    "no JSON": "x",
    "no set": "{}",
    "a list": "[]",
    "no object": '{"keys": [1]}',
    "a private part": json.dumps({"keys": [ALICE.as_jwk()]}),
    "twice": json.dumps({"keys": [ALICE.trusted.as_jwk()] * 2}),
    "a shared secret": json.dumps({"keys": [{"kty": "oct", "k": "AAAA"}]}),
    "another curve": jwks(crv="X25519"),
    "no point": jwks(x="AAAA"),
    "another kid": jwks(kid="alice"),
    "no use": jwks(runstream=None),
    "an unknown role": jwks(runstream={"role": "admin"}),
    "an actor without a name": jwks(runstream={"role": "actor"}),
    "nobody": jwks(runstream={"role": "actor", "actor": "Anonymous"}),
    "a look-alike": jwks(runstream={"role": "actor", "actor": "\u0430lice"}),
    "a router with a name": jwks(runstream={"role": "router", "actor": "alice"}),
    "an executor of nothing": jwks(runstream={"role": "executor"}),
    "an unknown domain": jwks(runstream={"role": "executor", "domains": ["x"]}),
    "a misspelt member": jwks(runstream={"role": "router", "expire": "2026-01-01T00:00:00Z"}),
    "a time without a zone": jwks(runstream={"role": "router", "expires": "2026-01-01T00:00:00"}),
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_set_of_keys_is_taken_whole_or_not_at_all(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.jwks").write_text(text)
    with pytest.raises(KeyFault) as fault:
        read_trusted(tmp_path / "t.jwks")
    assert ALICE.as_jwk()["d"] not in str(fault.value)


def test_a_changed_file_counts_within_the_interval_and_a_broken_one_does_not(
    tmp_path: Path,
) -> None:
    now, faults = [0.0], list[str]()
    file = tmp_path / "trusted.jwks"
    trusting(tmp_path, ALICE)
    keys = TrustedKeys(file, faults.append, lambda: now[0])

    def change(write: Callable[[], object]) -> None:
        write()
        keys.refresh()  # Too early.
        now[0] += CHECK_SECONDS
        keys.refresh()

    def replace() -> None:
        file.unlink()
        trusting(tmp_path, BOB)

    def add() -> None:
        with changing_trusted(file) as trusted:
            trusted[BOB.kid] = BOB.trusted

    change(add)
    assert keys.find(BOB.kid) is not None and keys.generation == 1
    change(lambda: file.write_text("{"))
    change(lambda: None)
    assert keys.find(ALICE.kid) is not None and keys.generation == 1
    assert len(faults) == 1 and "go on to count" in faults[0]
    change(replace)
    assert keys.find(ALICE.kid) is None and keys.generation == 2


def test_a_folder_is_completed_once(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys")
    made = folder.complete("alice")
    assert [key.use.role for key in made] == ["router", "matcher", "api", "actor", "executor"]
    assert read_private(folder.private("executor")).use.domains == tuple(DOMAINS)
    assert read_private(folder.private("operator")).use.actor == "alice"
    assert set(read_trusted(folder.trusted)) == {key.kid for key in made}
    with changing_trusted(folder.trusted) as trusted:
        del trusted[made[1].kid]
    assert folder.complete("alice") == []
    assert made[1].kid not in read_trusted(folder.trusted)
    more = folder.complete("alice", per_domain=True)
    assert [key.use.domains for key in more] == [(domain,) for domain in DOMAINS]


def test_a_login_name_that_no_actor_may_have_becomes_operator() -> None:
    assert actor_name("alice") == "alice"
    assert actor_name("CORP\\alice") == actor_name("anonymous") == "operator"


def test_a_process_without_its_keys_says_what_to_do(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path)
    folder.complete("alice", per_domain=True)
    router, trusted = str(folder.private("router")), str(folder.trusted)
    network = str(folder.private("executor-network"))

    def load(role: str, key: str | None, keys: str | None, domains: tuple[str, ...] = ()) -> None:
        process.load(role, key, keys, print, float, domains)  # type: ignore[arg-type]

    load("router", router, trusted)
    load("executor", network, trusted, ("network",))
    for role, key, keys, domains, said in (
        ("router", None, trusted, (), "RUNSTREAM_SIGNING_KEY is not set.*keys init"),
        ("router", router, "", (), "RUNSTREAM_TRUSTED_KEYS is not set.*keys init"),
        ("router", f"{router}x", trusted, (), "keys init"),
        ("router", network, trusted, (), "role executor"),
        ("executor", router, trusted, ("network",), "role router"),
        ("executor", network, trusted, ("network", "asset"), "--domain network --domain asset"),
    ):
        with pytest.raises(KeyFault, match=said):
            load(role, key, keys, domains)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_private_key_of_another_user_is_refused(tmp_path: Path) -> None:
    write_private(tmp_path / "a.jwk", ROUTER)
    os.chown(tmp_path / "a.jwk", 65_534, 65_534)
    with pytest.raises(KeyFault, match="another user"):
        read_private(tmp_path / "a.jwk")
    assert PrivateKey.generate(KeyUse(role="router")).kid != ROUTER.kid
