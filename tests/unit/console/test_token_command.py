"""`runstream token`: what it prints counts at the API, for as long as was asked."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from authority import bearer
from authority.bearer import Bearer
from authority.identity import Forged
from authority.key_files import read_trusted
from console.cli import main
from console.exits import Exit

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder with the key of ann, and no setting that names another one."""
    monkeypatch.chdir(tmp_path)
    for name in ("RUNSTREAM_STATE_DIR", "RUNSTREAM_TRUSTED_KEYS", "RUNSTREAM_API_AUDIENCE"):
        monkeypatch.delenv(name, raising=False)
    assert main(["keys", "init", "--dir", "keys", "--actor", "ann"]) == Exit.OK
    monkeypatch.setenv("RUNSTREAM_SIGNING_KEY", "keys/operator.jwk")


def token(capsys: Capture, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["token", *arguments]) == Exit.OK
    return capsys.readouterr().out.strip()


def checked(text: str, seconds: float = 0.0, audience: str = "runstream") -> Bearer | Forged:
    trusted = read_trusted(Path("keys/trusted.jwks"))
    return bearer.verify(text, trusted.get, audience, time.time() + seconds)


def test_it_counts_for_an_hour(capsys: Capture) -> None:
    text = token(capsys)
    found = checked(text)
    assert isinstance(found, Bearer)
    assert (found.key.use.actor, found.claims.scope) == ("ann", None)
    assert isinstance(checked(text, 3_590), Bearer)
    assert isinstance(checked(text, 3_610), Forged)


def test_it_is_for_one_installation_and_for_reading_where_that_is_asked(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNSTREAM_API_AUDIENCE", "blue")
    found = json.loads(token(capsys, "--read", "--hours", "0.5", "--json"))
    assert (found["actor"], found["tenant"], found["read_only"]) == ("ann", "default", True)
    assert isinstance(checked(found["token"]), Forged)
    read = checked(found["token"], audience="blue")
    assert isinstance(read, Bearer) and read.claims.scope == "read"
    assert read.claims.exp == pytest.approx(found["expires_at"])


def test_without_a_key_of_a_person_there_is_none(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNSTREAM_SIGNING_KEY", "keys/router.jwk")
    assert main(["token"]) == Exit.USAGE
    monkeypatch.delenv("RUNSTREAM_SIGNING_KEY")
    assert main(["token"]) == Exit.USAGE
    assert "there is no key to make a token with" in capsys.readouterr().err
    assert main(["token", "--hours", "13"]) == Exit.USAGE
