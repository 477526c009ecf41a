"""What-if: which programs and secrets of a plan this machine does not have."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from console import missing
from streams.explained import Explained, ExplainedCall
from tests.secret_kit import secret_file


def explained(tool: str, *secrets: str) -> Explained:
    call = ExplainedCall(
        field="plan.steps[0]", tool=tool, action="read", assets=[], locks=False, approval=False,
        allowed=True, rule="all", timeout_seconds=1.0, max_attempts=1, secrets=list(secrets),
    )  # fmt: skip
    return Explained("accepted", "ann", calls=[call])


def lacking(*secrets: str, tenant: str = "acme") -> list[str]:
    return missing.here(explained("noop", *secrets), tenant).secrets


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of secrets: one for all tenants, one that only `acme` has."""
    secret_file(tmp_path, "shared", "shared-value")
    (tmp_path / "acme").mkdir()
    secret_file(tmp_path / "acme", "own", "own-value")
    monkeypatch.setenv("RUNSTREAM_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_a_program_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    found = missing.here(explained("redis_cli"), "acme").programs
    assert found.keys() == {"redis_cli"} and "redis-tools" in found["redis_cli"]
    assert missing.here(explained("noop"), "acme").programs == {}


def test_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_HOOK", "a-value")
    assert lacking("env/HOOK", "env/OTHER") == ["env/OTHER"]


def test_a_file_of_the_tenant_and_one_of_all(folder: Path) -> None:
    paths = ("file/own", "file/shared", "file/absent", "file/acme")
    assert lacking(*paths) == ["file/absent", "file/acme"]
    assert lacking(*paths, tenant="other") == ["file/own", "file/absent", "file/acme"]


def test_without_a_folder_every_file_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNSTREAM_SECRETS_DIR", raising=False)
    assert lacking("file/own") == ["file/own"]


@pytest.mark.parametrize(
    ("path", "setting"),
    [("vault/kv/team#a", "RUNSTREAM_VAULT_URL"), ("aws/team/db", "RUNSTREAM_AWS_REGION")],
)
def test_a_server_is_not_asked(path: str, setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(setting, raising=False)
    assert lacking(path) == [path]
    monkeypatch.setenv(setting, "https://vault.example.org")
    assert lacking(path) == []
