"""`runstream keys`: who is trusted afterwards, and for what."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from authority.key_files import read_trusted
from authority.keys import KeyUse
from console.cli import main
from console.exits import Exit
from runtime import clock
from streams.topics import DOMAINS

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and no setting that names another one."""
    monkeypatch.chdir(tmp_path)
    for name in ("RUNSTREAM_STATE_DIR", "RUNSTREAM_TRUSTED_KEYS", "RUNSTREAM_SIGNING_KEY"):
        monkeypatch.delenv(name, raising=False)


def trusted(path: str = ".runstream/keys/trusted.jwks") -> dict[str, KeyUse]:
    """What the file of trusted keys says, by the ids of the keys."""
    file = Path(path)
    return {kid: key.use for kid, key in read_trusted(file).items()} if file.exists() else {}


def made(capsys: Capture, *arguments: str) -> dict[str, Any]:
    """The public key that `keys new` prints."""
    capsys.readouterr()
    assert main(["keys", "new", *arguments, "--json"]) == Exit.OK
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert "d" not in printed
    return printed


def test_a_new_key_is_private_and_trusted_for_what_was_asked(capsys: Capture) -> None:
    key = made(capsys, "actor", "--actor", "ann", "--tenant", "acme", "--out", "ann.jwk")
    assert stat.S_IMODE(Path("ann.jwk").stat().st_mode) == 0o600
    assert trusted() == {key["kid"]: KeyUse(role="actor", tenant="acme", actor="ann")}
    assert main(["keys", "new", "actor", "--actor", "eve", "--out", "ann.jwk"]) == Exit.USAGE
    assert "it is not overwritten" in capsys.readouterr().err
    assert list(trusted()) == [key["kid"]]


def test_a_key_that_nobody_trusts_yet(capsys: Capture) -> None:
    made(capsys, "router", "--out", "router.jwk", "--no-trust")
    assert Path("router.jwk").exists()
    assert trusted() == {}


def test_trust_takes_the_options_and_not_what_the_file_says(capsys: Capture) -> None:
    """Whoever made the file says there that it is a router's, of every domain and for ever."""
    key = made(capsys, "router", "--out", "theirs.jwk", "--no-trust")
    assert json.loads(Path("theirs.jwk").read_text())["runstream"]["role"] == "router"
    assert main(["keys", "trust", "theirs.jwk", "--actor", "eve", "--tenant", "acme"]) == Exit.OK
    assert trusted() == {key["kid"]: KeyUse(role="actor", tenant="acme", actor="eve")}
    assert '"d"' not in Path(".runstream/keys/trusted.jwks").read_text()
    # Trusted once more it is for what is said now, and nothing else.
    asked = ["--role", "executor", "--domain", "asset"]
    assert main(["keys", "trust", "theirs.jwk", *asked]) == Exit.OK
    assert trusted() == {key["kid"]: KeyUse(role="executor", domains=("asset",))}


def test_trust_without_a_name_does_not_take_the_one_of_the_file(capsys: Capture) -> None:
    made(capsys, "actor", "--actor", "mallory", "--out", "theirs.jwk", "--no-trust")
    assert main(["keys", "trust", "theirs.jwk"]) == Exit.USAGE
    assert "names its actor" in capsys.readouterr().err
    assert trusted() == {}


def test_a_revoked_key_is_trusted_no_longer_and_is_not_trusted_again_by_init(
    capsys: Capture,
) -> None:
    assert main(["keys", "init", "--actor", "ann"]) == Exit.OK
    (operator,) = [kid for kid, use in trusted().items() if use.role == "actor"]
    before = trusted()
    assert main(["keys", "revoke", operator]) == Exit.OK
    assert trusted() == {kid: use for kid, use in before.items() if kid != operator}
    assert main(["keys", "init", "--actor", "ann"]) == Exit.OK
    assert operator not in trusted()
    assert main(["keys", "revoke", operator]) == Exit.FAILED
    assert f"no trusted key has the id {operator}" in capsys.readouterr().err


def test_a_key_that_expires_says_when(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", noon.timestamp)
    key = made(capsys, "actor", "--actor", "ann", "--out", "ann.jwk", "--days", "1.5")
    (use,) = trusted().values()
    assert use.expires == datetime(2026, 11, 24, 0, tzinfo=UTC)
    assert use.refusal(use.expires.timestamp() - 1) is None
    assert "expired" in str(use.refusal(use.expires.timestamp()))
    assert main(["keys", "list"]) == Exit.OK
    assert f"{key['kid']}  actor ann of default, until 2026-11-24T00:00" in capsys.readouterr().out
    assert main(["keys", "list", "--json"]) == Exit.OK
    (row,) = json.loads(capsys.readouterr().out)
    assert row["expires"] == "2026-11-24T00:00:00Z"


def test_one_executor_key_for_each_domain(capsys: Capture) -> None:
    assert main(["keys", "init", "--actor", "ann", "--per-domain", "--json"]) == Exit.OK
    assert len(json.loads(capsys.readouterr().out)["made"]) == 4 + len(DOMAINS)
    domains = [use.domains for use in trusted().values() if use.role == "executor"]
    assert sorted(domains) == sorted((domain,) for domain in DOMAINS)
    assert {path.stem for path in Path(".runstream/keys").glob("executor*.jwk")} == {
        f"executor-{domain}" for domain in DOMAINS
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["actor"], "names its actor"),
        (["actor", "--actor", "anonymous"], "anonymous is nobody"),
        (["router", "--actor", "ann"], "no other key does"),
        (["executor"], "names its domains"),
        (["executor", "--domain", "moon"], "no domain 'moon'"),
    ],
)
def test_a_use_that_no_key_can_have_is_said_and_no_key_is_made(
    arguments: list[str], said: str, capsys: Capture
) -> None:
    assert main(["keys", "new", *arguments, "--out", "new.jwk"]) == Exit.USAGE
    assert said in capsys.readouterr().err
    assert not Path("new.jwk").exists()
    assert trusted() == {}


def test_show_prints_the_public_part_of_a_file_and_of_an_id(capsys: Capture) -> None:
    key = made(capsys, "actor", "--actor", "ann", "--out", "ann.jwk")
    for named in ("ann.jwk", key["kid"]):
        assert main(["keys", "show", named]) == Exit.OK
        assert json.loads(capsys.readouterr().out) == key
    assert main(["keys", "show", "nobody"]) == Exit.FAILED
    assert "is no file and no trusted key" in capsys.readouterr().err


def test_another_file_of_trusted_keys(capsys: Capture) -> None:
    key = made(capsys, "router", "--out", "r.jwk", "--trusted", "cluster.jwks")
    assert trusted() == {}
    assert list(trusted("cluster.jwks")) == [key["kid"]]
